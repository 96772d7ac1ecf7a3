package finding

import "azwi/contract"

// What the API server's refusals mean.

// ClusterSignIn is an API server that does not know the user.
func ClusterSignIn() Finding {
	return found(CodeClusterSignIn, Subject{}, "the cluster does not accept your sign-in: renew it, or check --kubeconfig and --context")
}

// ClusterForbidden is a user who lacks a verb on a resource, such as serviceaccounts; the
// namespace is empty for those of the whole cluster. Admission refuses in the same way.
func ClusterForbidden(verb, resource, namespace string) Finding {
	where := ""
	if namespace != "" {
		where = " in namespace " + namespace
	}
	return found(CodeClusterForbidden, Subject{}, "ask the cluster's administrator for the verb %s on %s%s, unless an admission policy refused it", verb, resource, where)
}

// AccountForbidden is a user who may not read a service account (NAMESPACE/NAME).
func AccountForbidden(account string) Finding {
	return found(CodeClusterForbidden, Subject{}, "service account %s: you may not read it: give --client-id and --tenant-id, or ask for the verb get on serviceaccounts", account)
}

// TokenForbidden is a user who may not request a service account's tokens.
func TokenForbidden(account string) Finding {
	return found(CodeClusterForbidden, Subject{}, "service account %s: you may not request its tokens: ask for the verb create on serviceaccounts/token, or use --token-file", account)
}

// ClusterUnreachable is an API server that does not answer; a token file may do instead.
func ClusterUnreachable(tokenFile bool) Finding {
	instead := ""
	if tokenFile {
		instead = "; --token-file works without a cluster"
	}
	return found(CodeClusterUnreachable, Subject{}, "the cluster can't be reached: check --kubeconfig and --context%s", instead)
}

// RedirectNotFollowed is an API server that leads elsewhere.
func RedirectNotFollowed() Finding {
	return found(CodeClusterRedirects, Subject{}, "a redirect to another origin is not followed, because it would receive the credentials")
}

// NoCluster is a user without a kubeconfig.
func NoCluster() Finding {
	return found(CodeNoCluster, Subject{}, "no cluster is configured: give --kubeconfig, or set $KUBECONFIG")
}

// AccountMissing is a service account (NAMESPACE/NAME) that is not there.
func AccountMissing(account string) Finding {
	return found(CodeAccountMissing, Subject{}, "service account %s does not exist: create it, or check --service-account and --context", account)
}

// NamespaceMissing is a namespace that is not there; the suggestion names the one that may
// be meant.
func NamespaceMissing(name, suggestion string) Finding {
	return found(CodeNamespaceMissing, Subject{}, "the cluster has no namespace %s%s", quote(name), suggestion)
}

// NamespaceToCreate is a namespace that an object needs.
func NamespaceToCreate(name string) Finding {
	return found(CodeNamespaceMissing, Subject{}, "create it: kubectl create namespace %s", name)
}

// AccountWithoutClientID is a service account (NAMESPACE/NAME) that says of no identity
// that it is its own.
func AccountWithoutClientID(account string) Finding {
	return found(CodeIdentityNotGiven, Subject{Key: contract.ClientIDAnnotation}, "service account %s has no annotation %s: add it, or give --client-id", account, contract.ClientIDAnnotation)
}

// AccountWithoutTenantID is one whose tenant nothing else says.
func AccountWithoutTenantID(account string) Finding {
	return found(CodeIdentityNotGiven, Subject{Key: contract.TenantIDAnnotation},
		"service account %s has no annotation %s: add it, or give --tenant-id or $%s", account, contract.TenantIDAnnotation, contract.EnvTenantID)
}
