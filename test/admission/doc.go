// Package admission tests the webhook on a real API server: its binary, built with
// the race detector, and its handler with the settings of every golden case.
package admission
