// Package imds is the instance metadata service at 169.254.169.254, as far as
// tokens of managed identities go. The machine has the identities whose seed
// says so.
package imds
