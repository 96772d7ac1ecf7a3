// Package migrate turns what aad-pod-identity reads in a cluster into what workload
// identity reads: service accounts and workloads, as manifests. It owns how
// identities, bindings and pods belong together, how a pod leads to the object that
// makes it, and what of a live object does not belong into a manifest. What a pod
// gets is package inject's business.
//
// It reads the cluster and changes nothing in it.
package migrate
