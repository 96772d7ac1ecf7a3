// Package journal remembers the last requests, without tokens and secrets, so
// that a test can assert what a client sent.
package journal
