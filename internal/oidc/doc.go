// Package oidc reads the public keys of service account tokens from files, and
// writes them as the key set that an issuer publishes. It reads what an issuer
// publishes, and shows the claims of tokens. It signs nothing, and of a private key
// it takes the public half alone.
package oidc
