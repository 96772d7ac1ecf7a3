// Package token keeps access tokens: one exchange at a time for each, refreshed
// ahead of their expiry in the background, and served until they really expire
// while Entra, the network or the token file is down.
//
// It decides when to ask and when not to; how to ask is its caller's function. It
// never looks into a token and never logs one.
package token
