package finding

import "azwi/contract"

// What injection denies or warns of.

// HostNetwork is a pod on the host's network that asks for the proxy.
func HostNetwork() Finding {
	return found(CodeHostNetwork, Subject{Key: contract.InjectProxyAnnotation},
		"annotation %s asks for the proxy, but the pod has hostNetwork: true: the redirect would change the node's own network; use one or the other",
		contract.InjectProxyAnnotation)
}

// ProxyWindows is a pod for Windows that asks for the proxy.
func ProxyWindows() Finding {
	return found(CodeProxyWindows, Subject{Key: contract.InjectProxyAnnotation},
		"annotation %s asks for the proxy, which does not run on Windows, but the pod is for Windows nodes: remove the annotation and use an SDK that supports workload identity",
		contract.InjectProxyAnnotation)
}

// ProxyImage is a pod that asks for the proxy, where no image is configured.
func ProxyImage() Finding {
	return found(CodeProxyImage, Subject{Key: contract.InjectProxyAnnotation},
		"annotation %s asks for the proxy, but no proxy image is configured: set %s to REGISTRY/%s:TAG, which azwi install --image-registry does",
		contract.InjectProxyAnnotation, contract.EnvProxyImage, contract.ProxyImageName)
}

// UpstreamImages are two different images of the proxy.
func UpstreamImages() Finding {
	return found(CodeUpstreamImages, Subject{},
		"%s differs from %s: taken for upstream's images, so the init container is privileged; set both to azwi's proxy image to avoid that",
		contract.EnvProxyInitImage, contract.EnvProxyImage)
}

// ProxyMode is an unknown mode.
func ProxyMode(mode string) Finding {
	return found(CodeProxyMode, Subject{Key: contract.ProxyModeAnnotation}, "annotation %s is %s: must be %s or %s",
		contract.ProxyModeAnnotation, quote(mode), contract.ProxyModeRedirect, contract.ProxyModeEnv)
}

// OtherAccount is a pod that has the client ID of a service account it had before.
func OtherAccount(former, account string) Finding {
	return found(CodeOtherAccount, Subject{Key: contract.InjectedForAnnotation},
		"%s was set for service account %s, but the pod runs as %s: whatever changes the account must run before workload identity is injected; "+
			"in a copied pod remove the variable and annotation %s",
		contract.EnvClientID, quote(former), quote(account), contract.InjectedForAnnotation)
}

// ProxyQuantity is a request or limit annotation whose value is not a quantity.
func ProxyQuantity(key, value string) Finding {
	return found(CodeProxyResources, Subject{Key: key}, "annotation %s is %s: must be a quantity such as 100m or 64Mi", key, quote(value))
}

// ProxyRequestAboveLimit is a request of the proxy above its limit, each by the key of
// its annotation.
func ProxyRequestAboveLimit(requestKey, request, limitKey, limit string) Finding {
	return found(CodeProxyResources, Subject{Key: requestKey},
		"annotation %s is %s: must be at most the limit, which annotation %s sets to %s", requestKey, quote(request), limitKey, quote(limit))
}

// ProxyIdentity is an identity of the proxy that is not ID=CLIENT_ID.
func ProxyIdentity(pair string) Finding {
	return found(CodeProxyIdentity, Subject{Key: contract.ProxyIdentitiesAnnotation},
		"annotation %s has %s: must be ID=CLIENT_ID or ID=CLIENT_ID@TENANT, separated by semicolons, each client ID a GUID",
		contract.ProxyIdentitiesAnnotation, quote(pair))
}

// ProxyIdentityTwice is an identity of the proxy with two client IDs or tenants.
func ProxyIdentityTwice(id string) Finding {
	return found(CodeProxyIdentity, Subject{Key: contract.ProxyIdentitiesAnnotation},
		"annotation %s gives %s two client IDs or tenants: keep one of them", contract.ProxyIdentitiesAnnotation, quote(id))
}

// ProxyAllowedClientID is an allowed client ID that is not a GUID.
func ProxyAllowedClientID(clientID string) Finding {
	return found(CodeProxyIdentity, Subject{Key: contract.ProxyAllowedClientIDsAnnotation},
		"annotation %s has %s: must be client IDs, GUIDs separated by semicolons", contract.ProxyAllowedClientIDsAnnotation, quote(clientID))
}

// TokenExpiration is a lifetime out of range, of the pod or of a service account
// (NAMESPACE/NAME).
func TokenExpiration(account, value string) Finding {
	where := "the pod"
	if account != "" {
		where = "service account " + account
	}
	return found(CodeTokenExpiration, Subject{Key: contract.TokenExpirationAnnotation},
		"annotation %s of %s is %s: must be a whole number of seconds from %d to %d",
		contract.TokenExpirationAnnotation, where, quote(value), contract.MinTokenExpiration, contract.MaxTokenExpiration)
}

// ProxyPort is a port out of range.
func ProxyPort(value string) Finding {
	return found(CodeProxyPort, Subject{Key: contract.ProxyPortAnnotation},
		"annotation %s is %s: must be a port from 1 to 65535", contract.ProxyPortAnnotation, quote(value))
}

// ProxyUID is a container that runs as the proxy's user.
func ProxyUID(container string) Finding {
	return found(CodeProxyUID, Subject{Container: container},
		"container %s has runAsUser %d, which is the proxy's own and is not redirected to it: use another user", quote(container), contract.ProxyUID)
}

// ProxyNotBoolean is a wish for the proxy that is neither true nor false.
func ProxyNotBoolean(value string) Finding {
	return found(CodeProxyNotBoolean, Subject{Key: contract.InjectProxyAnnotation},
		`annotation %s is %s, which is neither true nor false: the proxy is injected; write "true" or "false"`,
		contract.InjectProxyAnnotation, quote(value))
}

// SkipUnknown is a container to skip that the pod does not have.
func SkipUnknown(container string) Finding {
	return found(CodeSkipUnknown, Subject{Key: contract.SkipContainersAnnotation},
		"annotation %s names %s, but the pod has no such container", contract.SkipContainersAnnotation, quote(container))
}

// VirtualNode is a pod that may run on a virtual node.
func VirtualNode() Finding {
	return found(CodeVirtualNode, Subject{},
		"the pod may run on a virtual node (virtual-kubelet), which supports neither projected tokens nor init containers: workload identity does not work there")
}

// OwnClientID is a container's own client ID that is not a GUID.
func OwnClientID(container, value string) Finding {
	return found(CodeOwnClientID, Subject{Container: container},
		"container %s sets %s to %s, not a GUID: use a client ID, or remove the variable to get the service account's",
		quote(container), contract.EnvClientID, quote(value))
}

// ClientIDNotGUID is a service account (NAMESPACE/NAME) whose client ID is not a GUID.
func ClientIDNotGUID(account, clientID string) Finding {
	return found(CodeClientIDNotGUID, Subject{Key: contract.ClientIDAnnotation},
		"annotation %s of service account %s is %s, not a GUID: use the identity's client ID",
		contract.ClientIDAnnotation, quote(account), quote(clientID))
}

// ClientIDMissing is a service account (NAMESPACE/NAME) without a client ID.
func ClientIDMissing(account string) Finding {
	return found(CodeClientIDMissing, Subject{},
		"service account %s has no annotation %s: %s is not set, so the application must name its identity itself",
		quote(account), contract.ClientIDAnnotation, contract.EnvClientID)
}

// MisplacedKey is a key of ours where it is not read; the places are named as in
// "annotation of the service account".
func MisplacedKey(place, key, readAt string) Finding {
	return found(CodeMisplacedKey, Subject{Key: key}, "%s %s has no effect: it is read as %s", place, quote(key), readAt)
}

// MisplacedLabel is a MisplacedKey that is the label that opts in, of an object with
// pods.
func MisplacedLabel(misplaced Finding) Finding {
	misplaced.text += ": put it in the labels of the pod template"
	return misplaced
}

// NearMissKey is a key that nearly matches one of ours.
func NearMissKey(place, key, readAt, known string) Finding {
	return found(CodeNearMissKey, Subject{Key: key}, "%s %s has no effect: did you mean the %s %s?", place, quote(key), readAt, known)
}

// OwnEndpoint is a container that sets a managed identity endpoint itself, in the
// proxy's env mode.
func OwnEndpoint(container string) Finding {
	return found(CodeOwnEndpoint, Subject{Container: container},
		"container %s sets %s or one of its kind itself, so it does not use the proxy", quote(container), contract.EnvIdentityEndpoint)
}

// NeedlessEndpoint is the same in redirect mode, where it is not needed.
func NeedlessEndpoint(container, variable string) Finding {
	return found(CodeOwnEndpoint, Subject{Container: container},
		"container %s sets %s, but the proxy redirects requests for managed identity tokens without it: remove it, and IDENTITY_HEADER with it",
		quote(container), variable)
}

// HTTPProxy is a container that sends requests for loopback to an HTTP proxy.
func HTTPProxy(container string) Finding {
	return found(CodeHTTPProxy, Subject{Container: container},
		"container %s has HTTP_PROXY without 127.0.0.1 in NO_PROXY: some clients will not reach the identity proxy", quote(container))
}

// PortTaken is a container that declares the proxy's port.
func PortTaken(container string, port int64) Finding {
	return found(CodePortTaken, Subject{Container: container},
		"container %s declares port %d, which the proxy listens on: set annotation %s to another port", quote(container), port, contract.ProxyPortAnnotation)
}

// NeverCompletes is a pod that should end, with the proxy as an ordinary container.
func NeverCompletes(restartPolicy string) Finding {
	return found(CodeNeverCompletes, Subject{Key: contract.InjectProxyAnnotation},
		"the pod has restartPolicy %s, but never completes: before Kubernetes 1.%d the proxy is an ordinary container, which keeps running",
		quote(restartPolicy), contract.NativeSidecarMinor)
}

// PodTooLarge is a pod with more of something (in plural) than is allowed.
func PodTooLarge(what string, count, most int) Finding {
	return found(CodePodTooLarge, Subject{},
		"the pod has %d %s: workload identity is injected into pods with at most %d; make the pod smaller, or remove its label %s",
		count, what, most, contract.UseLabel)
}
