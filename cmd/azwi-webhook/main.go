// Command azwi-webhook is the admission webhook that injects workload identity
// into pods.
package main

import "os"

func main() { os.Exit(run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr)) }
