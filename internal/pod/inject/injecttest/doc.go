// Package injecttest reads the golden cases of injection, for every test that
// must come to the same pod: package inject itself, the webhook and the policy on
// a real API server. Only tests import it.
package injecttest
