// Command bench measures the product on a real API server and prints the figures
// of docs/benchmarks.md, what is compared always from one run. `make bench` runs it.
package main
