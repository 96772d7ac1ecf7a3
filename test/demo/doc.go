// Command demo shows the whole path on one machine: a pod gets an Entra token from a
// local Entra; first from a manifest alone, then on a real Kubernetes API server.
// `make demo` builds what it needs and runs it.
package main
