package contract

// Environment of a container that uses workload identity. The Azure SDKs read
// the first four; the AZURE_KUBERNETES_ ones belong to the custom token endpoint.
const (
	// EnvClientID is the client ID of the pod's identity, from its service account.
	EnvClientID = "AZURE_CLIENT_ID"
	// EnvTenantID is the tenant ID of the identity; required by the webhook itself.
	EnvTenantID = "AZURE_TENANT_ID"
	// EnvFederatedTokenFile is the path of the projected service account token.
	EnvFederatedTokenFile = "AZURE_FEDERATED_TOKEN_FILE"
	// EnvAuthorityHost is the URL of Entra's token service in the cloud.
	EnvAuthorityHost = "AZURE_AUTHORITY_HOST"

	// EnvTokenProxy is the URL of the custom token endpoint.
	EnvTokenProxy = "AZURE_KUBERNETES_TOKEN_PROXY"
	// EnvSNIName is the server name for TLS with the custom token endpoint.
	EnvSNIName = "AZURE_KUBERNETES_SNI_NAME"
	// EnvCAFile is the path of the custom token endpoint's CA.
	EnvCAFile = "AZURE_KUBERNETES_CA_FILE"
	// EnvCAData is that CA itself, in PEM.
	EnvCAData = "AZURE_KUBERNETES_CA_DATA"
)

// Environment of the webhook process, beside EnvTenantID and the
// AZURE_KUBERNETES_ names above.
const (
	// EnvEnvironment is the name of the Azure cloud.
	EnvEnvironment = "AZURE_ENVIRONMENT"
	// EnvProxyImage is the image of the injected proxy.
	EnvProxyImage = "PROXY_IMAGE"
	// EnvProxyInitImage is the image of the proxy's init container.
	EnvProxyInitImage = "PROXY_INIT_IMAGE"
	// EnvPodNamespace is the webhook's own namespace.
	EnvPodNamespace = "POD_NAMESPACE"
	// EnvCAConfigMapName is the ConfigMap, in the pod's namespace, of the custom token
	// endpoint's CA.
	EnvCAConfigMapName = "AZURE_KUBERNETES_CA_CONFIGMAP_NAME"
	// EnvCACTBSignerName is the signer of ClusterTrustBundles that hold that CA.
	EnvCACTBSignerName = "AZURE_KUBERNETES_CA_CTB_SIGNER_NAME"
	// EnvCACTBLabelSelector selects among those, a LabelSelector in JSON.
	EnvCACTBLabelSelector = "AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR"
)

// The projected service account token.
const (
	// DefaultAudience is the audience of the projected token.
	DefaultAudience = "api://AzureADTokenExchange"

	// VolumePrefix begins the name of every volume that is ours. A volume with
	// this prefix is reconciled, never left to the pod's author.
	VolumePrefix = "azure-workload-identity-reserved-"
	// TokenVolume is the volume of the token. Its name is the same in every pod,
	// so a renamed or re-created pod is left as it is.
	TokenVolume = VolumePrefix + "token"
	// EmptyVolume shadows the API server's token in the proxy containers.
	EmptyVolume = VolumePrefix + "empty"
	// ProxyCAVolume holds the proxy's extra CA, mounted at ProxyCAMountPath.
	ProxyCAVolume    = VolumePrefix + "proxy-ca"
	ProxyCAMountPath = "/var/run/secrets/azure/proxy-ca"
	// MountPath is where the token volume is mounted.
	MountPath = "/var/run/secrets/azure/wi"
	// TokenPath is the token file's path inside the volume.
	TokenPath = "token/" + TokenFileName
	// CAPath is the path inside the volume of the custom token endpoint's CA.
	CAPath = "ca-cert/ca.crt"
	// CAKey is the key of the CA in its ConfigMap.
	CAKey = "ca.crt"
	// TokenFileName is the last element of the token's path in every layout.
	TokenFileName = "azure-identity-token"

	// LegacyVolume and LegacyMountPath are those of upstream v1.5.1, where the
	// token file lies at the volume's root.
	LegacyVolume    = "azure-identity-token"
	LegacyMountPath = "/var/run/secrets/azure/tokens"

	// APITokenMountPath is where the API server mounts its own token into every
	// container that has nothing there.
	APITokenMountPath = "/var/run/secrets/kubernetes.io/serviceaccount"

	// DefaultTokenExpiration and its limits are in seconds.
	DefaultTokenExpiration int64 = 3600
	MinTokenExpiration     int64 = 3600
	MaxTokenExpiration     int64 = 86400
)

// The IMDS proxy.
const (
	ProxyContainer     = "azwi-proxy"
	ProxyInitContainer = "azwi-proxy-init"
	// ProxyPortEnv tells the init container the port to redirect to.
	ProxyPortEnv = "PROXY_PORT"
	// ProxyModeRedirect sends requests for the IMDS address to the proxy by the
	// network; ProxyModeEnv names the proxy in the environment instead, which needs
	// no privilege. Values of ProxyModeAnnotation and of the sidecar's --proxy-mode.
	ProxyModeRedirect = "redirect"
	ProxyModeEnv      = "env"
	// EnvPodUID holds the pod's UID in env mode: part of the proxy's URL, and the
	// header that its callers send. It guards against forged requests (SSRF).
	EnvPodUID = "AZWI_POD_UID"
	// The variables by which Azure's clients find a managed identity endpoint.
	EnvIdentityEndpoint = "IDENTITY_ENDPOINT"
	EnvIdentityHeader   = "IDENTITY_HEADER"
	EnvMSIEndpoint      = "MSI_ENDPOINT"
	EnvMSISecret        = "MSI_SECRET"
	// ProxyEnvPath follows the pod's UID in the URL path of env mode.
	ProxyEnvPath = "/msi/token"
	// DefaultProxyPort is a TCP port.
	DefaultProxyPort = 8000
	// ProxyUID is the user of the proxy; its own traffic is not redirected.
	ProxyUID = 1501
	// ProxyBinary is the proxy's path in its image; UpstreamProxyBinary is
	// upstream's, and serves in our image too.
	ProxyBinary         = "/azwi-proxy"
	UpstreamProxyBinary = "/proxy"
	// IMDSAddress and IMDSPort are where managed identity clients ask.
	IMDSAddress = "169.254.169.254"
	IMDSPort    = 80
	// NativeSidecarMinor is the first minor version of Kubernetes 1 on which
	// every supported kubelet knows native sidecars.
	NativeSidecarMinor = 32
)

// The webhook's objects in a cluster.
const (
	SystemNamespace          = "azure-workload-identity-system"
	WebhookServiceAccount    = "azure-wi-webhook-admin"
	WebhookSecret            = "azure-wi-webhook-server-cert"
	WebhookService           = "azure-wi-webhook-webhook-service"
	WebhookConfiguration     = "azure-wi-webhook-mutating-webhook-configuration"
	WebhookName              = "mutation.azure-workload-identity.io"
	WebhookPath              = "/mutate-v1-pod"
	WebhookDefaultCertDir    = "/certs"
	WebhookDefaultHealthAddr = ":9440"
	WebhookDefaultMetrics    = ":8095"
	WebhookDefaultAddr       = ":9443"
)

// SubjectPrefix begins the subject of every service account token; the rest is
// namespace:name.
const SubjectPrefix = "system:serviceaccount:"

// Subject is the sub claim of tokens of a service account.
func Subject(namespace, name string) string {
	return SubjectPrefix + namespace + ":" + name
}

// Names of this project's images, without the registry that has them.
const (
	WebhookImageName = "azwi/webhook"
	ProxyImageName   = "azwi/proxy"
)
