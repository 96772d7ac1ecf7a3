// Package e2e proves the whole product on a real node: images as they are released,
// installed as a user does, and pods that the kubelet runs. make e2e runs it.
//
// It owns the scenarios; the cluster, the images and the local Entra are other
// packages'. The tests share one cluster and go one after another where they change
// what is installed.
package e2e
