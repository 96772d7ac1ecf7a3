// Command kube is a real Kubernetes in one binary, for tests and the demo:
// etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubelet,
// kube-proxy and kubectl. The first argument, or the name it is called by,
// chooses the program. Built with the tag servers, it holds etcd and
// kube-apiserver only.
//
// It is a Go module of its own so that the product's dependencies stay few.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() { os.Exit(run()) }

func run() int {
	name := filepath.Base(os.Args[0])
	cmd := program(name)
	if cmd == nil && len(os.Args) > 1 {
		// The programs read os.Args themselves, so the chosen name is shifted in.
		os.Args = os.Args[1:]
		name = os.Args[0]
		cmd = program(name)
	}
	if cmd == nil {
		fmt.Fprintf(os.Stderr, "kube: name a program to run: etcd, kube-apiserver%s\n", otherPrograms)
		return 2
	}
	return cmd()
}

func program(name string) func() int {
	switch name {
	case "etcd":
		return func() int { etcdmain.Main(append([]string{"etcd"}, os.Args[1:]...)); return 0 }
	case "kube-apiserver":
		return cobraProgram(apiserver.NewAPIServerCommand)
	}
	return otherProgram(name)
}

func cobraProgram(c func() *cobra.Command) func() int {
	return func() int { return cli.Run(c()) }
}
