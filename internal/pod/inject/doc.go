// Package inject decides what workload identity changes in a pod. It owns the
// whole of the injection contract (docs/contract.md): environment, token volume,
// proxy containers, warnings and denials.
//
// It is pure: raw pod, service account metadata and settings go in; a JSON patch,
// warnings or a denial come out. It does no I/O and knows no Kubernetes types, so
// a pod field that is newer than this program is never decoded and never lost.
// Injecting into an injected pod changes nothing.
package inject
