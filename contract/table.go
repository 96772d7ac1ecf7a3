package contract

import (
	"fmt"
	"strings"
)

// Prefix begins every label and annotation of workload identity.
const Prefix = "azure.workload.identity/"

// Labels and annotations; Keys says what each means.
const (
	UseLabel      = Prefix + "use"
	UseLabelValue = "true"

	ClientIDAnnotation              = Prefix + "client-id"
	TenantIDAnnotation              = Prefix + "tenant-id"
	TokenExpirationAnnotation       = Prefix + "service-account-token-expiration"
	SkipContainersAnnotation        = Prefix + "skip-containers"
	InjectProxyAnnotation           = Prefix + "inject-proxy-sidecar"
	ProxyPortAnnotation             = Prefix + "proxy-sidecar-port"
	ProxyModeAnnotation             = Prefix + "proxy-mode"
	ProxyIdentitiesAnnotation       = Prefix + "proxy-identities"
	ProxyAllowedClientIDsAnnotation = Prefix + "proxy-allowed-client-ids"
	ProxyEgressAnnotation           = Prefix + "proxy-https-proxy"
	ProxyNoEgressAnnotation         = Prefix + "proxy-no-proxy"
	ProxyCAAnnotation               = Prefix + "proxy-ca-configmap"
	ProxyCPURequestAnnotation       = Prefix + "proxy-cpu-request"
	ProxyCPULimitAnnotation         = Prefix + "proxy-cpu-limit"
	ProxyMemoryRequestAnnotation    = Prefix + "proxy-memory-request"
	ProxyMemoryLimitAnnotation      = Prefix + "proxy-memory-limit"

	// CustomTokenEndpointPrefix is followed by the configured suffix.
	CustomTokenEndpointPrefix = Prefix + "use-"
	// RefusedAnnotation is between the policies; no pod that exists has it.
	RefusedAnnotation = Prefix + "refused"
	// InjectedForAnnotation is written by injection.
	InjectedForAnnotation = Prefix + "injected-for"
	// MirrorPodAnnotation marks the API server's mirror of a static pod, which
	// the kubelet would not recognise if it were changed. Kubernetes' own.
	MirrorPodAnnotation = "kubernetes.io/config.mirror"
)

// A Place is where labels or annotations are read from, as warnings name it.
type Place string

// The places, in the order in which they are looked through.
const (
	PodLabel          Place = "label of the pod"
	PodAnnotation     Place = "annotation of the pod"
	AccountLabel      Place = "label of the service account"
	AccountAnnotation Place = "annotation of the service account"
)

// A Kind is what values have in common, in words. The zero value is Text.
type Kind string

// The kinds.
const (
	Text      Kind = ""
	Boolean   Kind = "`true` or `false`"
	Number    Kind = "whole number"
	List      Kind = "list, separated by semicolons"
	Quantity  Kind = "quantity such as `100m` or `64Mi`"
	GUID      Kind = "GUID"
	URL       Kind = "https URL"
	Egress    Kind = "URL without a password"
	Choice    Kind = "one of several"
	Resources Kind = "requests and limits, in JSON"
	Image     Kind = "image"
)

// A Type says which values there are.
type Type struct {
	Kind Kind
	// Values are those of a Choice.
	Values []string
	// Min and Max limit a Number, Max also the length of a Text. Zero: no limit.
	Min, Max int64
}

// String is the type for people, in Markdown.
func (t Type) String() string {
	switch {
	case t.Kind == Choice:
		return "`" + strings.Join(t.Values, "`, `") + "`"
	case t.Kind == Number:
		return fmt.Sprintf("%d to %d", t.Min, t.Max)
	case t.Max > 0:
		return fmt.Sprintf("text of at most %d characters", t.Max)
	case t.Kind == Text:
		return "text"
	}
	return string(t.Kind)
}

// A Key is a label or annotation.
type Key struct {
	Key string
	// Places that it is read from; of several, the first that has it counts. None: it
	// is not for people to write, or its name is not fixed.
	Places []Place
	Type   Type
	// Default is what holds without it, in words. Empty: the Setting that names it.
	Default string
	// Since is the first version, or upstream.
	Since string
	// Doc says what it does.
	Doc string
}

const (
	ofUpstream = "upstream"
	ofV2       = "2.0.0"
)

// Keys returns all labels and annotations. Near misses are looked for in their order.
func Keys() []Key {
	pod, account := []Place{PodAnnotation}, []Place{AccountAnnotation}
	text, list, quantity := Type{}, Type{Kind: List}, Type{Kind: Quantity}
	return []Key{
		{UseLabel, []Place{PodLabel}, Type{Kind: Choice, Values: []string{UseLabelValue}}, "none", ofUpstream,
			"Opts a pod in. Required, with exactly this value."},
		{ClientIDAnnotation, account, Type{Kind: GUID}, "none", ofUpstream,
			"`AZURE_CLIENT_ID`, the default identity. Without it, or if it is not a GUID, there is a warning, never a refusal."},
		{TenantIDAnnotation, account, text, "the webhook's `AZURE_TENANT_ID`", ofUpstream,
			"`AZURE_TENANT_ID`, for accounts of another tenant: its ID or a domain of it."},
		{TokenExpirationAnnotation, []Place{PodAnnotation, AccountAnnotation}, Type{Kind: Number, Min: MinTokenExpiration, Max: MaxTokenExpiration}, fmt.Sprint(DefaultTokenExpiration), ofUpstream,
			"Lifetime of the projected token in seconds. Anything else is refused."},
		{SkipContainersAnnotation, pod, list, "none", ofUpstream,
			"Containers left untouched. An unknown name gets a warning."},
		{InjectProxyAnnotation, pod, Type{Kind: Boolean}, "`false`", ofUpstream,
			"Adds the IMDS proxy. A value that is neither yes nor no adds it too, with a warning."},
		{ProxyPortAnnotation, pod, Type{Kind: Number, Min: 1, Max: 65535}, fmt.Sprint(DefaultProxyPort), ofUpstream,
			"Port of the proxy. Anything else is refused."},
		{ProxyModeAnnotation, pod, proxyModes(), "", ofV2,
			"How the proxy catches token requests. Anything else is refused."},
		{ProxyIdentitiesAnnotation, pod, list, "none", ofV2,
			"Object and resource IDs that the proxy takes for client IDs: `ID=CLIENT_ID` or `ID=CLIENT_ID@TENANT`. What the proxy would refuse is refused."},
		{ProxyAllowedClientIDsAnnotation, pod, list, "any", ofV2,
			"Client IDs that the proxy gives tokens for."},
		{ProxyEgressAnnotation, pod, text, "", ofV2,
			"The proxy's own `HTTPS_PROXY`."},
		{ProxyNoEgressAnnotation, pod, text, "", ofV2,
			"The proxy's own `NO_PROXY`."},
		{ProxyCAAnnotation, pod, text, "", ofV2,
			"ConfigMap, in the pod's namespace, of an extra CA for the proxy (key `" + CAKey + "`)."},
		{ProxyCPURequestAnnotation, pod, quantity, measured, ofV2, replaces},
		{ProxyCPULimitAnnotation, pod, quantity, measured, ofV2, replaces},
		{ProxyMemoryRequestAnnotation, pod, quantity, measured, ofV2, replaces},
		{ProxyMemoryLimitAnnotation, pod, quantity, measured, ofV2, replaces},
		{CustomTokenEndpointPrefix + "SUFFIX", nil, Type{Kind: Boolean}, "`false`", ofUpstream,
			"Pod annotation: asks for the custom token endpoint (identity binding). The suffix is a setting."},
		{RefusedAnnotation, nil, text, "none", ofV2,
			"Why a pod is denied, from the mutating policy to the validating one. No pod that exists has it."},
		{InjectedForAnnotation, nil, text, "none", ofV2,
			"Pod annotation, written by injection: the service account whose client ID the pod got, so that a later change of the account is noticed."},
	}
}

const (
	measured = "the webhook's `--proxy-resources` and `--proxy-init-resources`"
	replaces = "Of both containers of the proxy. One for CPU or memory replaces all that they would have of it. Anything else is refused."
)

func proxyModes() Type {
	return Type{Kind: Choice, Values: []string{ProxyModeRedirect, ProxyModeEnv}}
}

// A Setting is a choice for the whole cluster. Either its flag or its environment
// variable is set, by the chart from one of its values.
type Setting struct {
	// Flag is its name without dashes, Env a variable's. Option is azwi's flag in place of
	// a variable.
	Flag, Env, Option string
	// Value is the path of the chart's value.
	Value string
	Type  Type
	// Default of a Choice is the flag's; of others it is what holds without them.
	Default string
	// Annotation is the one of the pod that takes the place of this. Empty: none.
	Annotation string
	// Doc is the flag's help.
	Doc string
}

// Settings returns all of injection, in the order in which the chart passes them.
func Settings() []Setting {
	return []Setting{
		{Env: EnvTenantID, Option: "tenant-id", Value: "azureTenantID", Doc: "tenant of pods whose service account names none; required"},
		{Env: EnvEnvironment, Option: "azure-env", Value: "azureEnvironment", Default: "AzurePublicCloud", Doc: "AzurePublicCloud, AzureUSGovernmentCloud or AzureChinaCloud, or az's names AzureCloud and AzureUSGovernment; letter case does not matter"},
		{Env: EnvAuthorityHost, Option: "authority-host", Value: "authorityHost", Type: Type{Kind: URL}, Doc: "Entra's URL, for a cloud of another name"},
		{Env: EnvProxyImage, Option: "proxy-image", Value: "proxy.image", Type: Type{Kind: Image}, Doc: "image of the proxy; without it, pods that ask for the proxy are denied"},
		{Env: EnvProxyInitImage, Option: "proxy-init-image", Value: "proxy.initImage", Type: Type{Kind: Image}, Doc: "image of the proxy's init container, if it is another one"},
		{Env: EnvTokenProxy, Option: "custom-token-endpoint", Value: "customTokenEndpoint.azureKubernetesTokenProxy", Type: Type{Kind: URL}, Doc: "the custom token endpoint"},
		{Env: EnvSNIName, Option: "custom-token-endpoint-sni-name", Value: "customTokenEndpoint.azureKubernetesSniName", Doc: "TLS server name of the custom token endpoint"},
		{Env: EnvCAData, Option: "custom-token-endpoint-ca-data", Value: "customTokenEndpoint.azureKubernetesCaData", Doc: "CA of the custom token endpoint, in PEM; at most one of the three sources of a CA is set"},
		{Env: EnvCAConfigMapName, Option: "custom-token-endpoint-ca-configmap", Value: "customTokenEndpoint.azureKubernetesCAConfigMapName", Doc: "ConfigMap of the custom token endpoint's CA, in the pod's namespace"},
		{Env: EnvCACTBSignerName, Option: "custom-token-endpoint-ca-signer", Value: "customTokenEndpoint.azureKubernetesCACTBSignerName", Doc: "signer of the ClusterTrustBundles that hold the custom token endpoint's CA"},
		{Env: EnvCACTBLabelSelector, Option: "custom-token-endpoint-ca-selector", Value: "customTokenEndpoint.azureKubernetesCACTBLabelSelector", Doc: "label selector of these ClusterTrustBundles, in JSON"},

		{Flag: "token-path", Value: "tokenPath", Type: Type{Kind: Choice, Values: []string{"v1.6.0", "v1.5.1", "both"}}, Default: "v1.6.0",
			Doc: "where pods find the token: v1.6.0, v1.5.1 or both (as in those releases of upstream)"},
		{Flag: "audience", Value: "audience", Default: DefaultAudience, Doc: "audience of the service account token"},
		{Flag: "custom-token-endpoint-annotation-suffix", Value: "customTokenEndpoint.annotationSuffix", Type: Type{Max: 59},
			Doc: "pods with the annotation " + CustomTokenEndpointPrefix + "SUFFIX use the custom token endpoint"},
		{Flag: "custom-token-endpoint-audience", Value: "customTokenEndpoint.audience", Doc: "audience of the token in pods that use the custom token endpoint"},
		{Flag: "proxy-mode", Value: "proxy.mode", Type: proxyModes(), Default: ProxyModeRedirect, Annotation: ProxyModeAnnotation,
			Doc: "how the proxy catches token requests, for pods that do not choose: redirect or env"},
		{Flag: "proxy-https-proxy", Value: "proxy.httpsProxy", Type: Type{Kind: Egress}, Annotation: ProxyEgressAnnotation, Doc: "HTTPS_PROXY of the proxy sidecar"},
		{Flag: "proxy-no-proxy", Value: "proxy.noProxy", Annotation: ProxyNoEgressAnnotation, Doc: "NO_PROXY of the proxy sidecar"},
		{Flag: "proxy-ca-configmap", Value: "proxy.caConfigMap", Annotation: ProxyCAAnnotation,
			Doc: "ConfigMap in the pod's namespace with an extra CA (key " + CAKey + ") for the proxy sidecar"},
		{Flag: "proxy-resources", Value: "proxy.resources", Type: Type{Kind: Resources},
			Doc: `requests and limits of the proxy sidecar, in JSON: {"requests":{"cpu":"10m","memory":"24Mi"},"limits":{"memory":"64Mi"}} (default: several times the measured need)`},
		{Flag: "proxy-init-resources", Value: "proxy.initResources", Type: Type{Kind: Resources}, Doc: "requests and limits of the proxy's init container, in JSON"},
	}
}

// ClusterDefaults returns the settings that take an annotation's place where a pod
// has none.
func ClusterDefaults() []Setting {
	var defaults []Setting
	for _, s := range Settings() {
		if s.Annotation != "" {
			defaults = append(defaults, s)
		}
	}
	return defaults
}
