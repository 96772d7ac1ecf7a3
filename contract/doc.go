// Package contract holds what clusters, manifests and Azure SDKs rely on and
// must not change: the names of labels, annotations, environment variables,
// volumes and paths, their defaults and their limits. Keys and Settings are the table
// that flags, the chart's schema and the reference are made from.
//
// It is a leaf: it imports nothing of this project, and everything that needs
// one of these names takes it from here. Where the values come from is told in
// docs/contract.md.
package contract
