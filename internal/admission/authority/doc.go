// Package authority keeps the webhook's own certificate: a certificate authority
// and a serving certificate in one Secret, and the authority's certificate in the
// caBundle of the webhook's configuration. It adopts what it finds valid, repairs
// and renews the rest, and serves from memory.
//
// Any number of replicas may run it, with no leader: every write names the version
// of the object that it changes, so of two that change the same thing one fails,
// and finds the other's work when it looks again. While authorities change, both
// are in the bundle, and the new one is also signed by the former, so that a caller
// who knows either trusts every replica.
//
// The authority's key is in the Secret and in this process's memory and nowhere
// else; it is never logged. The package creates and deletes nothing.
package authority
