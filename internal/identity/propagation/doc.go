// Package propagation waits until a federated credential that was just written
// works everywhere. It owns when to ask for a token, when not to, and how many
// answers prove that the credential has spread.
//
// It sees nothing but the answers to token requests, and knows nothing about how
// the directory copies its data. docs/decisions/2026-11-24-waiting.md has the
// reasons and figures.
package propagation
