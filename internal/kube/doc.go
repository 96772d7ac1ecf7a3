// Package kube is the one way to a Kubernetes API server: it reads the
// kubeconfig as kubectl does, or the pod's own service account, and sends and
// receives objects as JSON. Objects are the caller's own structs or maps, so that
// no field is lost that this build does not know, and no schema is linked.
//
// A Ref names an object; the one table of kinds says where the API server has it. The
// package keeps nothing and decides nothing.
package kube
