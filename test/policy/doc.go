// Package policy tests the admission policies that package policy of the product
// generates: what they make of every golden case on the real API server, their
// cost, and what happens in races.
package policy
