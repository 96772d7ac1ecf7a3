// Package federation owns which federated identity credentials there shall be on
// applications and managed identities: their names, what a file wants, how that
// differs from what exists, and the writes that bring it about. It knows Azure's
// rules for such credentials: how many an identity holds, that writes to one must
// follow each other, and what its refusals mean.
//
// It asks nobody and prints nothing; internal/cli does.
package federation
