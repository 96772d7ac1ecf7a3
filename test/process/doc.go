// Package process starts programs that end with this one, however it ends: the
// product's own for tests, benchmarks and the demo.
package process
