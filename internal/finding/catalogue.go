package finding

// Codes of manifests and pods.
const (
	CodeSyntax        Code = "syntax"
	CodeNotManifest   Code = "not-a-manifest"
	CodeHelmTemplates Code = "helm-templates"
	CodePlaceholder   Code = "placeholder"
	CodeDuplicateKey  Code = "duplicate-key"
	CodeNotString     Code = "value-not-string"
	CodeUnreadable    Code = "pod-unreadable"
	CodePodTooLarge   Code = "pod-too-large"

	CodeLabelNotOnPod Code = "label-not-on-pod"
	CodeLabelValue    Code = "label-value"
	CodeLabelMissing  Code = "label-missing"
	CodeNearMissKey   Code = "near-miss-key"
	CodeMisplacedKey  Code = "misplaced-key"
	CodeKindUnknown   Code = "kind-unknown"
	CodeKustomization Code = "kustomization-labels"

	CodeClientIDMissing  Code = "client-id-missing"
	CodeClientIDNotGUID  Code = "client-id-not-guid"
	CodeTenantID         Code = "tenant-id"
	CodeTokenExpiration  Code = "token-expiration"
	CodeAccountMisplaced Code = "service-account-misplaced"
	CodeAccountUnknown   Code = "account-not-in-input"

	CodeOwnClientID     Code = "own-client-id"
	CodeOtherAccount    Code = "other-account"
	CodeVirtualNode     Code = "virtual-node"
	CodeSkipUnknown     Code = "skip-unknown-container"
	CodeProxyNotBoolean Code = "proxy-not-boolean"
	CodeProxyPort       Code = "proxy-port"
	CodeProxyMode       Code = "proxy-mode"
	CodeProxyIdentity   Code = "proxy-identities"
	CodeProxyResources  Code = "proxy-resources"
	CodeProxyWindows    Code = "proxy-windows"
	CodeProxyImage      Code = "proxy-image"
	CodeUpstreamImages  Code = "upstream-proxy-images"
	CodeHostNetwork     Code = "proxy-host-network"
	CodeProxyUID        Code = "proxy-uid"
	CodePortTaken       Code = "proxy-port-taken"
	CodeNeverCompletes  Code = "proxy-never-completes"
	CodeOwnEndpoint     Code = "own-identity-endpoint"
	CodeHTTPProxy       Code = "http-proxy"
	CodeSubPath         Code = "token-subpath"
	CodeTokenPath       Code = "token-path"
	CodeClientSecret    Code = "client-secret-env"
	CodeOwnTokenFile    Code = "own-token-file"

	CodePodIdentity Code = "aad-pod-identity"
	CodeIssuer      Code = "issuer"
	CodeSubject     Code = "subject"
)

// Codes of what the signed-in caller may do in Azure.
const (
	CodeActionNotGranted Code = "action-not-granted"
	CodeNotWritable      Code = "application-not-writable"
	CodeNotCreatable     Code = "application-not-creatable"
	CodePermissions      Code = "permissions-unreadable"
	CodeDirectory        Code = "directory-unreadable"
	CodeDirectoryRole    Code = "directory-role-unknown"
)

// An Entry is what the catalogue says of a code.
type Entry struct {
	Code     Code
	Severity Severity
	// Title is a line for lists.
	Title string
	// Page is the page below docs that explains it, in a section named after the code.
	Page string
}

const (
	lintPage       = "lint.md"
	webhookPage    = "webhook.md"
	permissionPage = "serviceaccount.md"
)

// Catalogue returns all entries, in the order of docs/lint.md.
func Catalogue() []Entry {
	return []Entry{
		{CodeSyntax, Error, "the document is not valid YAML or JSON", lintPage},
		{CodeNotManifest, Error, "a named file is not a Kubernetes manifest", lintPage},
		{CodeHelmTemplates, Warning, "templates of a Helm chart were not checked", lintPage},
		{CodePlaceholder, Info, "a value is a placeholder; an error once values are filled in, or with --rendered", lintPage},
		{CodeDuplicateKey, Warning, "a key occurs twice in a mapping, and only the last one counts", lintPage},
		{CodeNotString, Error, "the value of a label or annotation is not a string", lintPage},
		{CodeUnreadable, Error, "a field of the pod has the wrong type", lintPage},

		{CodeLabelNotOnPod, Error, "the label is on the workload, not on its pod template", lintPage},
		{CodeLabelValue, Error, `the label's value is not "true"`, lintPage},
		{CodeLabelMissing, Warning, "the service account has a client ID, but the pods do not opt in", lintPage},
		{CodeNearMissKey, Error, "a key that nearly matches one of workload identity's", lintPage},
		{CodeMisplacedKey, Error, "a key on an object where it is not read", lintPage},

		{CodeKindUnknown, Info, "a key on an object whose kind azwi does not know", lintPage},
		{CodeKustomization, Warning, "a Kustomization whose labels or annotations don't reach what reads them", lintPage},

		{CodeClientIDMissing, Warning, "the pods opt in, but their service account has no client ID", lintPage},
		{CodeClientIDNotGUID, Error, "the client ID is not a GUID", lintPage},
		{CodeTenantID, Error, "the tenant ID is neither a GUID nor a domain", lintPage},
		{CodeTokenExpiration, Error, "the token's lifetime is out of range", lintPage},
		{CodeAccountMisplaced, Error, "the service account's name is not where it is read, so the pod runs as default", lintPage},
		{CodeAccountUnknown, Info, "the service account is not in the input, so it was not checked", lintPage},

		{CodeOwnClientID, Warning, "a container sets a client ID that is not a GUID", lintPage},
		{CodeOtherAccount, Error, "the pod has another service account's client ID", lintPage},
		{CodeVirtualNode, Warning, "the pod may run on a virtual node, which has no projected tokens", lintPage},
		{CodeSkipUnknown, Warning, "skip-containers names a container that does not exist", lintPage},
		{CodeProxyNotBoolean, Warning, "inject-proxy-sidecar must be true or false", lintPage},
		{CodeProxyPort, Error, "the proxy's port is out of range", lintPage},
		{CodeProxyMode, Error, "an unknown mode of the proxy", lintPage},
		{CodeProxyIdentity, Error, "identities for the proxy that can't be read", lintPage},
		{CodeProxyResources, Error, "a request or limit for the proxy is not a quantity, or above its limit", lintPage},
		{CodeProxyWindows, Error, "the proxy in a pod for Windows", lintPage},
		{CodeHostNetwork, Error, "the proxy in a pod on the host's network", lintPage},
		{CodeProxyUID, Error, "a container runs as the proxy's user", lintPage},
		{CodePortTaken, Warning, "a container declares the proxy's port", lintPage},
		{CodeNeverCompletes, Warning, "the proxy keeps a Job from completing (before Kubernetes 1.32)", lintPage},
		{CodeOwnEndpoint, Warning, "a container names a managed identity endpoint of its own", lintPage},
		{CodeHTTPProxy, Warning, "an HTTP proxy is between a container and the identity proxy", lintPage},

		{CodeSubPath, Error, "the token is mounted by subPath, and such a mount is never updated", lintPage},
		{CodeTokenPath, Warning, "the manifest contains the token path of upstream v1.5.1", lintPage},
		{CodeClientSecret, Warning, "a client secret in the environment takes precedence over workload identity", lintPage},
		{CodeOwnTokenFile, Warning, "the token for the API server is used as the token for Entra", lintPage},
		{CodePodIdentity, Warning, "leftover aad-pod-identity resource", lintPage},
		{CodeIssuer, Error, "the issuer differs from the tokens' (trailing slash or scheme)", lintPage},
		{CodeSubject, Error, "the subject differs from every token's", lintPage},

		// What a cluster's settings decide, so that lint can't know it.
		{CodeProxyImage, Error, "no image is configured for the proxy", webhookPage},
		{CodeUpstreamImages, Warning, "the proxy's images are upstream's", webhookPage},
		{CodePodTooLarge, Error, "the pod is beyond the limits of injection", webhookPage},

		{CodeActionNotGranted, Error, "the caller has no role with the action at the scope", permissionPage},
		{CodeNotWritable, Error, "the caller may not write the application", permissionPage},
		{CodeNotCreatable, Error, "the caller may not create applications", permissionPage},
		{CodePermissions, Warning, "the caller's permissions at the scope can't be read", permissionPage},
		{CodeDirectory, Warning, "the caller may not read what decides in the directory", permissionPage},
		{CodeDirectoryRole, Warning, "the caller has a directory role that azwi does not know", permissionPage},
	}
}

// Find returns the entry of a code, if there is one.
func Find(code Code) (Entry, bool) {
	for _, e := range Catalogue() {
		if e.Code == code {
			return e, true
		}
	}
	return Entry{}, false
}

// Severity is what the catalogue says. Error for a code that is not in it.
func (c Code) Severity() Severity {
	if e, ok := Find(c); ok {
		return e.Severity
	}
	return Error
}
