// Package azure owns how azwi signs in: which credential each --auth-method is,
// and in which cloud. It never calls Graph or Resource Manager, and never logs
// or returns a secret.
package azure
