package finding

// What keeps the kubeconfig from being used.

// KubeconfigMissing is a $KUBECONFIG that names no file that exists.
func KubeconfigMissing(names string) Finding {
	return found(CodeNoCluster, Subject{}, "no cluster is configured: $KUBECONFIG names %s, which does not exist: correct it, or give --kubeconfig", names)
}

// NotKubeconfig is a file that holds something else; the problem is the reader's.
func NotKubeconfig(problem error) Finding {
	return found(CodeKubeconfig, Subject{}, "the kubeconfig can't be used: name another one with --kubeconfig or $KUBECONFIG (%v)", problem)
}

// ContextMissing is a context that the kubeconfig lacks; the suggestion names the one that
// may be meant.
func ContextMissing(name, suggestion string) Finding {
	if suggestion == "" {
		suggestion = ": kubectl config get-contexts lists those it has"
	}
	return found(CodeKubeconfig, Subject{}, "the kubeconfig has no context %s%s", quote(name), suggestion)
}

// ClusterUntrusted is an API server whose certificate the kubeconfig's authority did not sign.
func ClusterUntrusted() Finding {
	return found(CodeClusterUntrusted, Subject{}, "the API server's certificate does not match the kubeconfig: fetch the kubeconfig again (az aks get-credentials), "+
		"or check its certificate-authority and whether a proxy answers in the API server's place")
}
