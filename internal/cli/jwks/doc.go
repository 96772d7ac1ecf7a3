// Package jwks owns azwi jwks: files of public keys in, a key set out. Keys are read
// and written by internal/oidc.
package jwks
