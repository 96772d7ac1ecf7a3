// Package install puts azwi into a cluster and takes it out again: it renders the
// chart with Helm's engine, applies the objects in an order that leaves no pod
// without its identity, and proves by a pod that is not kept (dry run) that
// injection works.
//
// What is installed is decided by the chart alone; this package adds the
// namespace, the probe's service account and a record of what it applied.
package install
