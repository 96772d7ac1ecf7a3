package inject

import "azwi/contract"

// A Place is where keys of labels or annotations are read from.
type Place struct {
	// Name as warnings have it, such as "annotation of the pod".
	Name string
	// Keys that are read there.
	Keys []string
	// Bare places are searched for near misses without a prefix too.
	Bare bool
}

// Places returns all of them: the pod's labels and annotations, then those of the
// service account.
func Places() []Place {
	return []Place{
		{"label of the pod", []string{contract.UseLabel}, false},
		{"annotation of the pod", []string{
			contract.TokenExpirationAnnotation, contract.SkipContainersAnnotation,
			contract.InjectProxyAnnotation, contract.ProxyPortAnnotation, contract.ProxyModeAnnotation,
			contract.ProxyIdentitiesAnnotation, contract.ProxyAllowedClientIDsAnnotation,
			contract.ProxyEgressAnnotation, contract.ProxyNoEgressAnnotation, contract.ProxyCAAnnotation,
			contract.ProxyCPURequestAnnotation, contract.ProxyCPULimitAnnotation,
			contract.ProxyMemoryRequestAnnotation, contract.ProxyMemoryLimitAnnotation,
		}, false},
		{"label of the service account", nil, true},
		{"annotation of the service account", []string{
			contract.ClientIDAnnotation, contract.TenantIDAnnotation, contract.TokenExpirationAnnotation,
		}, true},
	}
}
