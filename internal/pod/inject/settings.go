package inject

import (
	"encoding/json"
	"fmt"

	"azwi/contract"
)

// Settings are the choices that hold for the whole cluster. The zero value
// injects tokens for the default audience, sets no tenant and no authority, and
// denies pods that ask for the proxy, since it names no proxy image.
type Settings struct {
	// TenantID becomes AZURE_TENANT_ID unless the service account names another.
	TenantID string
	// AuthorityHost becomes AZURE_AUTHORITY_HOST, as written. Empty: not set.
	AuthorityHost string
	// Audience of the projected token. Defaults to contract.DefaultAudience.
	Audience string
	// Layout of the token volume. Defaults to LayoutV16.
	Layout Layout
	// CustomTokenEndpoint is off unless its Annotation is set.
	CustomTokenEndpoint CustomTokenEndpoint
	// Defaults has what holds for pods without an annotation, by its key, for those of
	// contract.ClusterDefaults.
	Defaults map[string]string
	// Proxy describes the IMDS proxy's containers.
	Proxy Proxy
	// Unmarked leaves contract.InjectedForAnnotation out, for manifests, in which
	// whoever changes the account sees the client ID beside it.
	Unmarked bool
}

// Layout says where containers find the token.
type Layout int

const (
	// LayoutV16 is that of upstream v1.6.0: contract.MountPath.
	LayoutV16 Layout = iota
	// LayoutV15 is that of upstream v1.5.1: contract.LegacyMountPath, volume
	// contract.LegacyVolume.
	LayoutV15
	// LayoutBoth serves both; AZURE_FEDERATED_TOKEN_FILE is that of LayoutV16.
	LayoutBoth
)

func (l Layout) String() string {
	switch l {
	case LayoutV15:
		return "v1.5.1"
	case LayoutBoth:
		return "both"
	default:
		return "v1.6.0"
	}
}

// MarshalText writes the layout as --token-path has it.
func (l Layout) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what MarshalText writes; anything else is an error.
func (l *Layout) UnmarshalText(text []byte) error {
	for _, known := range []Layout{LayoutV16, LayoutV15, LayoutBoth} {
		if string(text) == known.String() {
			*l = known
			return nil
		}
	}
	return fmt.Errorf("unknown token path %q: use v1.6.0, v1.5.1 or both", text)
}

// CustomTokenEndpoint sends token requests of pods that ask for it to an
// endpoint in the cluster (AKS identity binding) instead of Entra.
type CustomTokenEndpoint struct {
	// Annotation is the full pod annotation that asks for it. Empty: off.
	Annotation string
	// Audience of the token in such pods.
	Audience string
	// TokenProxy is the endpoint's https URL. The fields below are used only
	// when it is set, since the Azure SDKs refuse them without it.
	TokenProxy string
	// SNIName is the TLS server name of the endpoint.
	SNIName string
	// CAData is the endpoint's CA in PEM. At most one of CAData, CAConfigMap and
	// CATrustBundleSigner is set.
	CAData string
	// CAConfigMap names a ConfigMap in the pod's namespace, key contract.CAKey.
	CAConfigMap string
	// CATrustBundleSigner selects ClusterTrustBundles.
	CATrustBundleSigner string
	// CATrustBundleSelector is a label selector in JSON. Empty: none.
	CATrustBundleSelector json.RawMessage
}

func (e CustomTokenEndpoint) caIsFile() bool {
	return e.TokenProxy != "" && (e.CAConfigMap != "" || e.CATrustBundleSigner != "")
}

// Proxy describes the IMDS proxy's containers.
type Proxy struct {
	// Image of both containers. Empty: pods that ask for the proxy are denied.
	Image string
	// InitImage is the image of the init container. Defaults to Image. A different
	// one is taken for upstream's pair of images, or a mirror of it, and gets the
	// container that these need: privileged, with a warning.
	InitImage string
	// NativeSidecar makes the proxy an init container that keeps running, so
	// that it serves the pod's own init containers and ends with a Job. The API
	// server and every kubelet must know such containers.
	NativeSidecar bool
	// LogLevel of the sidecar. Defaults to info.
	LogLevel string
	// Resources of the sidecar. Defaults to DefaultProxyResources.
	Resources *Resources
	// InitResources are those of the init container. Defaults to
	// DefaultProxyInitResources.
	InitResources *Resources
}

// Resources are a container's requests and limits, in Kubernetes quantities.
type Resources struct {
	Requests map[string]string `json:"requests,omitempty"`
	Limits   map[string]string `json:"limits,omitempty"`
}

// DefaultProxyResources leave the proxy several times what it was measured to
// need (docs/benchmarks.md). A namespace with a ResourceQuota refuses containers
// without requests and limits.
func DefaultProxyResources() Resources {
	return Resources{
		Requests: map[string]string{"cpu": "10m", "memory": "24Mi"},
		Limits:   map[string]string{"cpu": "500m", "memory": "64Mi"},
	}
}

// DefaultProxyInitResources are those of a program that sets one rule and ends.
func DefaultProxyInitResources() Resources {
	return Resources{
		Requests: map[string]string{"cpu": "10m", "memory": "16Mi"},
		Limits:   map[string]string{"cpu": "100m", "memory": "32Mi"},
	}
}

// Default is what holds for pods without the annotation key.
func (s Settings) Default(key string) string {
	if value := s.Defaults[key]; value != "" {
		return value
	}
	for _, setting := range contract.ClusterDefaults() {
		if setting.Annotation == key {
			return setting.Default
		}
	}
	return ""
}

// withDefaults fills in what the zero value leaves open.
func (s Settings) withDefaults() Settings {
	if s.Audience == "" {
		s.Audience = contract.DefaultAudience
	}
	if s.Proxy.InitImage == "" {
		s.Proxy.InitImage = s.Proxy.Image
	}
	if s.Proxy.LogLevel == "" {
		s.Proxy.LogLevel = "info"
	}
	if s.Proxy.Resources == nil {
		r := DefaultProxyResources()
		s.Proxy.Resources = &r
	}
	if s.Proxy.InitResources == nil {
		r := DefaultProxyInitResources()
		s.Proxy.InitResources = &r
	}
	return s
}
