// Command demo shows the whole path on one machine: a pod on a real Kubernetes API
// server gets an Entra token, from a local Entra. `make demo` builds what it needs
// and runs it.
package main
