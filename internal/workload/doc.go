// Package workload knows where Kubernetes' kinds of workloads keep their pod
// template. It owns the table of these kinds, for everything that looks at or
// changes workloads before there is a pod.
package workload
