//go:build !servers

package main

import (
	"context"

	"github.com/spf13/cobra"
	kubectl "k8s.io/kubectl/pkg/cmd"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	kubeproxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

const otherPrograms = ", kube-controller-manager, kube-scheduler, kubelet, kube-proxy, kubectl"

func otherProgram(name string) func() int {
	switch name {
	case "kube-controller-manager":
		return cobraProgram(controllermanager.NewControllerManagerCommand)
	case "kube-scheduler":
		return cobraProgram(func() *cobra.Command { return scheduler.NewSchedulerCommand() })
	case "kubelet":
		return cobraProgram(func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) })
	case "kube-proxy":
		return cobraProgram(kubeproxy.NewProxyCommand)
	case "kubectl":
		return cobraProgram(kubectl.NewDefaultKubectlCommand)
	}
	return nil
}
