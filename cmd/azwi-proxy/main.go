// Command azwi-proxy is the sidecar that gives tokens of workload identity to
// applications written for managed identity, and the init container that sends
// their traffic to it.
package main

import "os"

func main() { os.Exit(run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr)) }
