// Package policy writes the injection of package inject as admission policies,
// which the API server evaluates itself (CEL), so that a cluster needs no webhook.
//
// What a pod gets is taken from package inject by asking it, with the cluster's
// settings, about sample pods: there is one definition of the volumes, variables,
// containers and texts. What is decided by looking at the pod is written here once
// more, in CEL; test/policy holds both against each other on a real API server.
// This package talks to no cluster.
package policy
