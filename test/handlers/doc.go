// Package handlers serves the webhook's handler in the test's own process, with
// settings of their own for each namespace, so that the golden cases of package
// inject run through it on a real API server.
package handlers
