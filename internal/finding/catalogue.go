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

// Codes of the sign-in to Azure.
const (
	CodeAzMissing   Code = "az-missing"
	CodeAzSignedOut Code = "az-signed-out"
	// CodeAzureUnreachable is about Entra, Graph and Resource Manager alike.
	CodeAzureUnreachable Code = "azure-unreachable"
)

// Codes of an installation's state.
const (
	CodeInterrupted           Code = "interrupted"
	CodeNotRegistered         Code = "webhook-not-registered"
	CodeFailurePolicy         Code = "failure-policy-ignore"
	CodeDeploymentMissing     Code = "deployment-missing"
	CodeReplicas              Code = "replicas-not-ready"
	CodeCertificateMissing    Code = "certificate-missing"
	CodeCertificateUnreadable Code = "certificate-unreadable"
	CodeCertificateExpired    Code = "certificate-expired"
	CodeCertificateExpires    Code = "certificate-expires"
	CodeBundle                Code = "ca-bundle"
	CodePodRefused            Code = "pod-refused"
	CodePodNotInjected        Code = "pod-not-injected"
	CodeDrift                 Code = "drift"
	CodePodsWithoutIdentity   Code = "pods-without-identity"
	CodePodsWithStaleIdentity Code = "pods-with-stale-identity"
	CodePodsWithoutLabel      Code = "pods-without-label"
	CodeNotReadable           Code = "not-readable"
	CodeDriftUnknown          Code = "drift-unknown"
)

// Codes of what ends an installation, or follows from it.
const (
	CodeInstalled        Code = "installed"
	CodeNotInstalled     Code = "not-installed"
	CodeKubernetesTooOld Code = "kubernetes-too-old"
	CodeSwitchNeedsWait  Code = "switch-needs-wait"
	CodeAPIMissing       Code = "api-missing"
	CodeWouldRefuse      Code = "would-refuse"
	CodePodsNotCreatable Code = "pods-not-creatable"
	CodeOtherRun         Code = "other-run"
	CodeTwoRecords       Code = "two-records"
	CodeRecordUnreadable Code = "record-unreadable"
	CodeSelector         Code = "deployment-selector"
	CodeTrialLeft        Code = "trial-left"
	CodeRightsKept       Code = "rights-kept"
	CodeNotPutBack       Code = "not-put-back"
	CodeTimedOut         Code = "timed-out"
)

// Codes of identities and their federated credentials.
const (
	CodeApplicationMissing     Code = "application-missing"
	CodeApplicationAmbiguous   Code = "application-ambiguous"
	CodeApplicationName        Code = "application-name"
	CodeManagedIdentityMissing Code = "managed-identity-missing"
	CodeIdentityNotMade        Code = "identity-not-made"
	CodeTenantUnknown          Code = "tenant-unknown"
	CodeRoleMissing            Code = "role-missing"
	CodeCredentialLimit        Code = "credential-limit"
	CodeCredentialsNotGranted  Code = "credentials-not-granted"
	CodeRegion                 Code = "region-without-credentials"
	CodeAzureBusy              Code = "azure-busy"
	CodeCredentialKept         Code = "credential-kept"
	CodeIssuerNotMoved         Code = "issuer-not-moved"
	CodeIssuerNotFound         Code = "issuer-not-found"
	CodeOtherCluster           Code = "other-cluster"
	CodeIdentityNotGiven       Code = "identity-not-given"
)

// Codes of the way from aad-pod-identity.
const (
	CodePodIdentityMissing Code = "aad-pod-identity-missing"
	CodeNotListable        Code = "workloads-not-listable"
	CodeControllerUnknown  Code = "controller-unknown"
	CodeNothingBound       Code = "nothing-bound"
	CodeSeveralIdentities  Code = "several-identities"
	CodeAccountTaken       Code = "service-account-taken"
)

// Codes of the webhook at work, the proxy, and an issuer's keys.
const (
	CodeWebhookBusy          Code = "webhook-busy"
	CodeAccountNotRead       Code = "service-account-not-read"
	CodeCertificateContested Code = "certificate-contested"
	CodeRedirect             Code = "redirect"
	CodeIdentityUnknown      Code = "identity-unknown"
	CodePrivateKey           Code = "private-key"
	CodeECKey                Code = "ec-key"
)

// Codes of the API server's refusals.
const (
	CodeClusterSignIn      Code = "cluster-sign-in"
	CodeClusterForbidden   Code = "cluster-forbidden"
	CodeClusterUnreachable Code = "cluster-unreachable"
	CodeClusterRedirects   Code = "cluster-redirects"
	CodeClusterUntrusted   Code = "cluster-untrusted"
	CodeKubeconfig         Code = "kubeconfig"
	CodeNoCluster          Code = "no-cluster"
	CodeAccountMissing     Code = "service-account-missing"
	CodeNamespaceMissing   Code = "namespace-missing"
)

// Codes of what doctor sees on the way from a pod to its token.
const (
	CodeObjectMissing      Code = "object-missing"
	CodePodWithoutIdentity Code = "pod-without-identity"
	CodeStaleIdentity      Code = "stale-identity"
	CodeNamespaceExcluded  Code = "namespace-excluded"
	CodePodExcluded        Code = "pod-excluded"
	CodeWebhookSilent      Code = "webhook-silent"
	CodePolicyNotBound     Code = "policy-not-bound"
	CodeTwoInstallations   Code = "two-installations"
	CodeContainerSkipped   Code = "container-skipped"
	CodeOtherClientID      Code = "other-client-id"
	CodeOwnAuthority       Code = "own-authority"
	CodeIssuerUnreachable  Code = "issuer-unreachable"
	CodeIssuerRedirected   Code = "issuer-redirected"
	CodeIssuerNotServed    Code = "issuer-not-served"
	CodeIssuerNotHTTPS     Code = "issuer-not-https"
	CodeIssuerNamesOther   Code = "issuer-names-other"
	CodeIssuerKeyMissing   Code = "issuer-key-missing"
	CodeIdentityMissing    Code = "identity-missing"
	CodeObjectID           Code = "client-id-is-object-id"
	CodeOtherTenant        Code = "other-tenant"
	CodePrincipalMissing   Code = "service-principal-missing"
	CodeCredentialMissing  Code = "credential-missing"
	CodeCredentialSubject  Code = "credential-subject"
	CodeCredentialIssuer   Code = "credential-issuer"
	CodeCredentialAudience Code = "credential-audience"
	CodeCredentialsFull    Code = "credentials-full"
	CodeCredentialSpreads  Code = "credential-spreads"
	CodeExchangeRefused    Code = "exchange-refused"
	CodeRoleNotAssigned    Code = "role-not-assigned"
	CodeProxyNotReady      Code = "proxy-not-ready"
	CodeSeenInPod          Code = "seen-in-pod"
)

// Codes of what gives an identity to more than need be.
const (
	CodeIdentityShared   Code = "identity-shared"
	CodeCredentialUnused Code = "credential-unused"
	CodeSubjectWide      Code = "credential-expression"
	CodeTokenLongLived   Code = "token-long-lived"
	CodeCanActAs         Code = "can-act-as"
	CodeIMDSReachable    Code = "imds-reachable"
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
	operationsPage = "operations.md"
	doctorPage     = "doctor.md"
	auditPage      = "audit.md"

	federationPage = "federation.md"
	tokenPage      = "token.md"
	migrationPage  = "migration.md"
	proxyPage      = "proxy.md"
	keysPage       = "jwks.md"
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
		{CodeProxyIdentity, Error, "the proxy's identities can't be parsed", lintPage},
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
		{CodeWebhookBusy, Error, "the webhook is overloaded", webhookPage},
		{CodeAccountNotRead, Error, "the API server did not answer the webhook in time", webhookPage},
		{CodeCertificateContested, Error, "another program changes the webhook's certificate", webhookPage},

		{CodeActionNotGranted, Error, "the caller has no role with the action at the scope", permissionPage},
		{CodeNotWritable, Error, "the caller may not write the application", permissionPage},
		{CodeNotCreatable, Error, "the caller may not create applications", permissionPage},
		{CodePermissions, Warning, "the caller's permissions at the scope can't be read", permissionPage},
		{CodeDirectory, Warning, "the caller may not read what decides in the directory", permissionPage},
		{CodeDirectoryRole, Warning, "the caller has a directory role that azwi does not know", permissionPage},

		{CodeAzMissing, Error, "az, which signs in to Azure, is not installed", permissionPage},
		{CodeAzSignedOut, Error, "az is not signed in, or its sign-in has expired", permissionPage},
		{CodeAzureUnreachable, Error, "a service of Azure can't be reached", permissionPage},
		{CodeApplicationName, Error, "the application's default name is too long", permissionPage},
		{CodeIdentityNotMade, Error, "the identity or its service principal does not exist yet", permissionPage},
		{CodeRoleMissing, Error, "no role has that name", permissionPage},
		{CodeTenantUnknown, Error, "the tenant is not known", permissionPage},

		{CodeInterrupted, Error, "a change of the installation did not finish", operationsPage},
		{CodeNotRegistered, Error, "the API server does not call the webhook", operationsPage},
		{CodeFailurePolicy, Warning, "pods may be created without identity", operationsPage},
		{CodeDeploymentMissing, Error, "the webhook's Deployment is missing", operationsPage},
		{CodeReplicas, Error, "not all of the webhook's replicas are ready", operationsPage},
		{CodeCertificateMissing, Error, "the webhook has no certificate", operationsPage},
		{CodeCertificateUnreadable, Error, "the webhook's Secret holds something other than a certificate", operationsPage},
		{CodeCertificateExpired, Error, "the webhook's certificate has expired", operationsPage},
		{CodeCertificateExpires, Warning, "the webhook's certificate expires within seven days", operationsPage},
		{CodeBundle, Error, "the API server does not trust the webhook's certificate", operationsPage},
		{CodePodRefused, Error, "a labelled pod can't be created", operationsPage},
		{CodePodNotInjected, Error, "a labelled pod gets no identity, or another tenant's", operationsPage},
		{CodeDrift, Warning, "objects differ from what was installed", operationsPage},
		{CodePodsWithoutIdentity, Warning, "labelled pods run without identity", operationsPage},
		{CodePodsWithStaleIdentity, Error, "pods have an identity that their service account no longer names", operationsPage},
		{CodePodsWithoutLabel, Warning, "pods run without identity, and their service account has a client ID", operationsPage},
		{CodeNotReadable, Info, "a part of the installation could not be read", operationsPage},
		{CodeDriftUnknown, Info, "the objects can't be compared with what was installed", operationsPage},

		{CodeInstalled, Error, "an installation already exists", operationsPage},
		{CodeNotInstalled, Error, "azwi is not installed", operationsPage},
		{CodeKubernetesTooOld, Error, "the cluster's version lacks what is needed", operationsPage},
		{CodeSwitchNeedsWait, Error, "a switch of engines needs a check that the new one works", operationsPage},
		{CodeAPIMissing, Error, "the cluster lacks an API that a value needs", operationsPage},
		{CodeWouldRefuse, Error, "a dry run was refused", operationsPage},
		{CodePodsNotCreatable, Error, "the user may not create pods, so injection can't be tested", operationsPage},
		{CodeOtherRun, Error, "another run of azwi changes the installation", operationsPage},
		{CodeTwoRecords, Error, "two ConfigMaps record an installation", operationsPage},
		{CodeRecordUnreadable, Error, "the record of the installation can't be read", operationsPage},
		{CodeSelector, Error, "azwi's pods can't match the selector of the existing Deployment", operationsPage},
		{CodeTrialLeft, Warning, "an engine still ignores trial pods", operationsPage},
		{CodeRightsKept, Info, "a role keeps the rights of the former pods", operationsPage},
		{CodeNotPutBack, Error, "a failed take-over left something behind", operationsPage},
		{CodeTimedOut, Error, "the installation did not work in time", operationsPage},

		{CodeClusterSignIn, Error, "the API server does not accept the user's sign-in", operationsPage},
		{CodeClusterForbidden, Error, "the user lacks a right in the cluster", operationsPage},
		{CodeClusterUnreachable, Error, "the API server does not answer", operationsPage},
		{CodeClusterRedirects, Error, "the API server's address leads to another one", operationsPage},
		{CodeClusterUntrusted, Error, "the API server's certificate is not the kubeconfig's", operationsPage},
		{CodeKubeconfig, Error, "the kubeconfig can't be used, or lacks the context", operationsPage},
		{CodeNoCluster, Error, "no kubeconfig was found", operationsPage},
		{CodeAccountMissing, Error, "the service account does not exist", operationsPage},
		{CodeNamespaceMissing, Error, "the namespace does not exist", operationsPage},

		{CodeObjectMissing, Error, "the object to look at does not exist", doctorPage},
		{CodePodWithoutIdentity, Error, "the pod has the label but was not injected", doctorPage},
		{CodeStaleIdentity, Error, "the pod has an identity that its service account no longer names", doctorPage},
		{CodeNamespaceExcluded, Error, "the installation's selector leaves the namespace out", doctorPage},
		{CodePodExcluded, Error, "the installation leaves the pod out", doctorPage},
		{CodeWebhookSilent, Error, "the webhook does not answer, and pods get no identity", doctorPage},
		{CodePolicyNotBound, Error, "the mutating policy has no binding", doctorPage},
		{CodeTwoInstallations, Error, "more than one installation injects pods", doctorPage},
		{CodeContainerSkipped, Warning, "a container asked to be left out of injection", doctorPage},
		{CodeOtherClientID, Warning, "a container names an identity of its own", doctorPage},
		{CodeOwnAuthority, Error, "a container names a token service of its own", doctorPage},
		{CodeIssuerUnreachable, Error, "the issuer's documents can't be fetched from here", doctorPage},
		{CodeIssuerRedirected, Error, "the issuer's documents are behind a redirect", doctorPage},
		{CodeIssuerNotServed, Error, "the issuer does not publish its documents", doctorPage},
		{CodeIssuerNotHTTPS, Error, "an issuer's document is not at an https URL", doctorPage},
		{CodeIssuerNamesOther, Error, "the discovery document names another issuer", doctorPage},
		{CodeIssuerKeyMissing, Error, "the issuer does not publish the key that signs the tokens", doctorPage},
		{CodeIdentityMissing, Error, "no identity has the client ID", doctorPage},
		{CodeObjectID, Error, "the client ID is an object ID", doctorPage},
		{CodeOtherTenant, Error, "the service account names another tenant than the identity's", doctorPage},
		{CodePrincipalMissing, Error, "the application has no service principal", doctorPage},
		{CodeCredentialMissing, Error, "the identity has no federated credential for the service account", doctorPage},
		{CodeCredentialSubject, Error, "the federated credential has another subject than the token", doctorPage},
		{CodeCredentialIssuer, Error, "the federated credential has another issuer than the token", doctorPage},
		{CodeCredentialAudience, Error, "the federated credential has another audience than the token", doctorPage},
		{CodeCredentialsFull, Error, "the identity has no room for another federated credential", doctorPage},
		{CodeCredentialSpreads, Warning, "the federated credential has not spread through Entra yet", doctorPage},
		{CodeExchangeRefused, Error, "Entra refuses the token", doctorPage},
		{CodeRoleNotAssigned, Warning, "the identity has no role at the scope", doctorPage},
		{CodeProxyNotReady, Error, "the proxy in a pod does not serve", doctorPage},
		{CodeSeenInPod, Warning, "a pod or its events show an error code of Entra", doctorPage},

		{CodeIdentityShared, Warning, "an identity is shared by namespaces", auditPage},
		{CodeCredentialUnused, Warning, "a federated credential is for a service account that does not exist", auditPage},
		{CodeSubjectWide, Warning, "a federated credential matches subjects by an expression", auditPage},
		{CodeTokenLongLived, Info, "tokens for Entra live longer than four hours", auditPage},
		{CodeCanActAs, Info, "someone other than an administrator can act as a service account", auditPage},
		{CodeIMDSReachable, Info, "pods can reach the node's metadata service", auditPage},

		{CodeApplicationMissing, Error, "the tenant has no such application", federationPage},
		{CodeApplicationAmbiguous, Error, "several applications have the name", federationPage},
		{CodeManagedIdentityMissing, Error, "the managed identity does not exist", federationPage},
		{CodeCredentialLimit, Error, "an identity can't hold so many federated credentials", federationPage},
		{CodeCredentialsNotGranted, Error, "the caller may not write an identity's federated credentials", federationPage},
		{CodeRegion, Error, "the managed identity's region has no federated credentials", federationPage},
		{CodeAzureBusy, Error, "Azure refused every attempt", federationPage},
		{CodeCredentialKept, Info, "a credential that is not in the file stays", federationPage},
		{CodeOtherCluster, Warning, "a context of the kubeconfig is a different cluster from the file's", federationPage},
		{CodeIssuerNotFound, Error, "no credential has the issuer that is to be replaced", federationPage},
		{CodeIssuerNotMoved, Error, "the credential of the new issuer is not there yet", federationPage},

		{CodeIdentityNotGiven, Error, "neither the service account nor a flag names the identity", tokenPage},

		{CodePodIdentityMissing, Error, "aad-pod-identity is not installed in the cluster", migrationPage},
		{CodeNotListable, Warning, "workloads of a kind may not be listed", migrationPage},
		{CodeControllerUnknown, Error, "the pods' controller is of a kind that azwi does not know", migrationPage},
		{CodeNothingBound, Error, "no binding selects the workload", migrationPage},
		{CodeSeveralIdentities, Warning, "a workload has several AzureIdentities", migrationPage},
		{CodeAccountTaken, Error, "the service account is another identity's", migrationPage},

		{CodeRedirect, Error, "the redirect to the proxy can't be made, or catches the proxy itself", proxyPage},
		{CodeIdentityUnknown, Error, "the proxy does not know, or may not use, the identity asked for", proxyPage},
		{CodePrivateKey, Warning, "a file of public keys has a private key", keysPage},
		{CodeECKey, Warning, "a public key is not an RSA key", keysPage},
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
