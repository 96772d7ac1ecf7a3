// Package product builds this project's binaries and runs them against a real
// control plane, for tests, benchmarks and the demo.
package product
