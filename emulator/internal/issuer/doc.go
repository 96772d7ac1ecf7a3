// Package issuer fetches and keeps the signing keys of external OIDC issuers,
// the clusters whose tokens are exchanged. It reaches only what the settings
// name, and loopback. It verifies no token.
package issuer
