package lint

import (
	"fmt"

	"azwi/internal/pod/inject"
)

// Severity says how bad a finding is.
type Severity int

// Severities, from bad to good to know.
const (
	// Error: it does not work, or not as it says.
	Error Severity = iota + 1
	// Warning: it may work, but is likely not what was meant.
	Warning
	// Info: worth knowing.
	Info
)

func (s Severity) String() string {
	switch s {
	case Error:
		return "error"
	case Warning:
		return "warning"
	default:
		return "info"
	}
}

// MarshalText writes the severity as String does.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText writes; anything else is an error.
func (s *Severity) UnmarshalText(text []byte) error {
	for _, known := range []Severity{Error, Warning, Info} {
		if known.String() == string(text) {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("unknown severity %q: use error, warning or info", text)
}

// A Rule is one kind of mistake.
type Rule struct {
	// Name is stable.
	Name     string
	Severity Severity
	// Summary is a line for lists.
	Summary string
}

// Rules that are not injection's own.
const (
	ruleSyntax          = "syntax"
	ruleDuplicateKey    = "duplicate-key"
	ruleNotString       = "value-not-string"
	ruleLabelValue      = "label-value"
	ruleLabelNotOnPod   = "label-not-on-pod"
	ruleLabelMissing    = "label-missing"
	ruleTenantID        = "tenant-id"
	ruleAccountUnknown  = "account-not-in-input"
	ruleSubPath         = "token-subpath"
	ruleTokenPath       = "token-path"
	ruleClientSecret    = "client-secret-env"
	rulePodIdentity     = "aad-pod-identity"
	ruleIssuer          = "issuer"
	ruleSubject         = "subject"
	ruleUnreadableCause = "pod-unreadable"

	ruleNotManifest      = "not-a-manifest"
	ruleHelmTemplates    = "helm-templates"
	rulePlaceholder      = "placeholder"
	ruleKindUnknown      = "kind-unknown"
	ruleAccountMisplaced = "service-account-misplaced"
	ruleKustomization    = "kustomization-labels"
	ruleOwnTokenFile     = "own-token-file"
)

// Rules returns all rules, in the order of docs/lint.md. Those that injection
// warns of or denies have the names of its reasons.
func Rules() []Rule {
	return []Rule{
		{ruleSyntax, Error, "the document is not valid YAML or JSON"},
		{ruleNotManifest, Error, "a named file is not a Kubernetes manifest"},
		{ruleHelmTemplates, Warning, "templates of a Helm chart were not checked"},
		{rulePlaceholder, Info, "a value is a placeholder; an error once values are filled in, or with --rendered"},
		{ruleDuplicateKey, Warning, "a key occurs twice in a mapping, and only the last one counts"},
		{ruleNotString, Error, "the value of a label or annotation is not a string"},
		{ruleUnreadableCause, Error, "a field of the pod has the wrong type"},

		{ruleLabelNotOnPod, Error, "the label is on the workload, not on its pod template"},
		{ruleLabelValue, Error, `the label's value is not "true"`},
		{ruleLabelMissing, Warning, "the service account has a client ID, but the pods do not opt in"},
		{string(inject.ReasonNearMissKey), Error, "a key that nearly matches one of workload identity's"},
		{string(inject.ReasonMisplacedKey), Error, "a key on an object where it is not read"},

		{ruleKindUnknown, Info, "a key on an object whose kind azwi does not know"},
		{ruleKustomization, Warning, "a Kustomization whose labels or annotations don't reach what reads them"},

		{string(inject.ReasonClientIDMissing), Warning, "the pods opt in, but their service account has no client ID"},
		{string(inject.ReasonClientIDNotGUID), Error, "the client ID is not a GUID"},
		{ruleTenantID, Error, "the tenant ID is neither a GUID nor a domain"},
		{string(inject.ReasonTokenExpiration), Error, "the token's lifetime is out of range"},
		{ruleAccountMisplaced, Error, "the service account's name is not where it is read, so the pod runs as default"},
		{ruleAccountUnknown, Info, "the service account is not in the input, so it was not checked"},

		{string(inject.ReasonOwnClientID), Warning, "a container sets a client ID that is not a GUID"},
		{string(inject.ReasonOtherAccount), Error, "the pod has another service account's client ID"},
		{string(inject.ReasonVirtualNode), Warning, "the pod may run on a virtual node, which has no projected tokens"},
		{string(inject.ReasonSkipUnknown), Warning, "skip-containers names a container that does not exist"},
		{string(inject.ReasonProxyNotBoolean), Warning, "inject-proxy-sidecar must be true or false"},
		{string(inject.ReasonProxyPort), Error, "the proxy's port is out of range"},
		{string(inject.ReasonProxyMode), Error, "an unknown mode of the proxy"},
		{string(inject.ReasonProxyIdentity), Error, "identities for the proxy that can't be read"},
		{string(inject.ReasonProxyResources), Error, "a request or limit for the proxy is not a quantity, or above its limit"},
		{string(inject.ReasonProxyWindows), Error, "the proxy in a pod for Windows"},
		{string(inject.ReasonHostNetwork), Error, "the proxy in a pod on the host's network"},
		{string(inject.ReasonProxyUID), Error, "a container runs as the proxy's user"},
		{string(inject.ReasonPortTaken), Warning, "a container declares the proxy's port"},
		{string(inject.ReasonNeverCompletes), Warning, "the proxy keeps a Job from completing (before Kubernetes 1.32)"},
		{string(inject.ReasonOwnEndpoint), Warning, "a container names a managed identity endpoint of its own"},
		{string(inject.ReasonHTTPProxy), Warning, "an HTTP proxy is between a container and the identity proxy"},

		{ruleSubPath, Error, "the token is mounted by subPath, and such a mount is never updated"},
		{ruleTokenPath, Warning, "the manifest contains the token path of upstream v1.5.1"},
		{ruleClientSecret, Warning, "a client secret in the environment takes precedence over workload identity"},
		{ruleOwnTokenFile, Warning, "the token for the API server is used as the token for Entra"},
		{rulePodIdentity, Warning, "leftover aad-pod-identity resource"},
		{ruleIssuer, Error, "the issuer differs from the tokens' (trailing slash or scheme)"},
		{ruleSubject, Error, "the subject differs from every token's"},
	}
}

func rule(name string) (Rule, bool) {
	for _, r := range Rules() {
		if r.Name == name {
			return r, true
		}
	}
	return Rule{}, false
}
