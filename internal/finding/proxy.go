package finding

import "azwi/contract"

// What keeps the proxy from giving tokens.

const envMode = "use the proxy mode env"

// NoRoute is a pod in which nothing leads to the metadata service's address.
func NoRoute() Finding {
	return found(CodeRedirect, Subject{}, "there is no route to %s: the pod needs a default route, or %s", contract.IMDSAddress, envMode)
}

// NetAdminMissing is an init container without its capability.
func NetAdminMissing() Finding {
	return found(CodeRedirect, Subject{}, "not permitted: the container needs the capability NET_ADMIN")
}

// NoNFTables is a kernel or a sandbox without nftables.
func NoNFTables() Finding {
	return found(CodeRedirect, Subject{}, "this kernel has no nftables with NAT (nf_tables, nft_chain_nat, nft_redir): %s", envMode)
}

// ProxyLoop is a proxy whose own requests come back to it.
func ProxyLoop() Finding {
	return found(CodeRedirect, Subject{}, "the proxy's own requests are redirected to it: it must run as user %d", contract.ProxyUID)
}

// NotClientID is a client_id that is none.
func NotClientID(id string) Finding {
	return found(CodeIdentityUnknown, Subject{}, "%q is not a client ID", id)
}

// NoDefaultIdentity is a request without an identity, in a pod without one.
func NoDefaultIdentity() Finding {
	return found(CodeIdentityUnknown, Subject{Key: contract.ClientIDAnnotation},
		"the request names no identity, and there is no default: annotate the service account with %s, or send client_id", contract.ClientIDAnnotation)
}

// IDNotMapped is an object or resource ID whose client ID is not known.
func IDNotMapped(id string) Finding {
	return found(CodeIdentityUnknown, Subject{Key: contract.ProxyIdentitiesAnnotation},
		"object and resource IDs are served only if the proxy knows their client ID: add %s=CLIENT_ID to the annotation %s, or send client_id", id, contract.ProxyIdentitiesAnnotation)
}

// ClientIDNotAllowed is a client ID that the pod does not allow.
func ClientIDNotAllowed(clientID string) Finding {
	return found(CodeIdentityUnknown, Subject{Key: contract.ProxyAllowedClientIDsAnnotation},
		"client ID %s is not among those that the annotation %s allows", clientID, contract.ProxyAllowedClientIDsAnnotation)
}

// PodNotLabelled is a proxy in a pod that nothing was injected into.
func PodNotLabelled() Finding {
	return found(CodePodNotInjected, Subject{Key: contract.UseLabel}, "%s is not set: the pod lacks the label %s=%s, or the webhook did not see it",
		contract.EnvFederatedTokenFile, contract.UseLabel, contract.UseLabelValue)
}

// EnvClientIDNotGUID is a pod whose service account has a client ID that is none.
func EnvClientIDNotGUID() Finding {
	return found(CodeClientIDNotGUID, Subject{}, "%s is not a client ID: correct the service account's annotation", contract.EnvClientID)
}
