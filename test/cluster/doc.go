// Package cluster runs a real Kubernetes control plane for tests, the demo and
// people: etcd, kube-apiserver and, when asked, kube-controller-manager, from one
// binary that it builds from Go modules (folder kube) and keeps by version.
//
// With a node (containerd, kubelet, kube-proxy, scheduler) pods run too. It lives in
// namespaces of its own under one process 1: when that ends, its processes, mounts
// and network are gone, and nothing shows on the machine but a link and a cgroup.
//
// The package owns the build of that binary, the processes, their certificates and
// the folder they live in. Everything listens on loopback, or on the node's link. etcd asks for no
// credentials, so whoever can run a program on this machine can read what a
// cluster holds: keep nothing of value in one.
//
// It holds nothing of this project's product: webhooks, policies and workloads
// are for its users to bring.
package cluster
