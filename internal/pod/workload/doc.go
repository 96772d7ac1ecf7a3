// Package workload knows where kinds of workloads keep their pod template, or the
// metadata of their pods. It owns the table of these kinds, Kubernetes' own and those
// of other projects, for everything that looks at or changes workloads before there
// is a pod, and the form of the file in which people add to it.
package workload
