// Package architecture holds no code but the tests that keep the project's shape:
// who may import whom, how packages are named and described, and what no file may
// contain. docs/architecture.md tells the reasons at length.
package architecture
