//go:build !linux

// Command node is process 1 of a test cluster's node: Linux only.
package main

import "os"

func main() { os.Exit(1) }
