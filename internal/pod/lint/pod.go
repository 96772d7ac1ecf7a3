package lint

import (
	"encoding/json"
	"path"
	"slices"
	"strconv"
	"strings"

	"azwi/contract"
	"azwi/internal/pod/inject"
	"azwi/internal/pod/manifest"
)

func parse(pod map[string]any) (*inject.Pod, error) {
	raw, err := json.Marshal(pod)
	if err != nil {
		return nil, err
	}
	return inject.Parse(raw)
}

// quote shows a value that somebody else chose, cut to a readable length.
func quote(value string) string {
	const most = 64
	if len(value) > most {
		value = value[:most] + "..."
	}
	return strconv.QuoteToASCII(value)
}

// volumes looks at how containers mount the token.
func (l *linter) volumes(o manifest.Object, template manifest.Value) {
	tokens := []string{contract.LegacyVolume, contract.TokenVolume}
	var own []string
	for _, v := range template.Get("spec", "volumes").Items() {
		name, _ := v.Get("name").Text()
		own = append(own, name)
		for _, source := range v.Get("projected", "sources").Items() {
			if source.Get("serviceAccountToken").Exists() {
				tokens = append(tokens, name)
			}
		}
	}
	for _, c := range containers(template) {
		for _, m := range c.Get("volumeMounts").Items() {
			name, _ := m.Get("name").Text()
			isToken := slices.Contains(tokens, name) || strings.HasPrefix(name, contract.VolumePrefix)
			for _, key := range []string{"subPath", "subPathExpr"} {
				if sub := m.Get(key); isToken && sub.Exists() && sub.Source() != "" {
					l.find(ruleSubPath, o, sub.KeyPosition(), "a mount by %s is never updated, so the application loses its token when that expires: mount the whole volume %s, and name the file by its path in there", key, quote(name))
				}
			}
			if name == contract.LegacyVolume && !slices.Contains(own, name) && l.config.Layout == inject.LayoutV16 {
				l.find(ruleTokenPath, o, m.Position(), "volume %s is not there with the token path v1.6.0, and the API server refuses a mount without its volume: remove the mount, or run the webhook with --token-path=both", name)
			}
		}
	}
}

// environment looks at what containers set, and at the old path anywhere in them.
func (l *linter) environment(o manifest.Object, template manifest.Value) {
	skipped, _ := template.Get("metadata", "annotations", contract.SkipContainersAnnotation).Text()
	redirected := l.redirected(template)
	for _, c := range containers(template) {
		name, _ := c.Get("name").Text()
		if slices.ContainsFunc(strings.Split(skipped, ";"), func(s string) bool { return strings.TrimSpace(s) == name }) {
			continue
		}
		for _, e := range c.Get("env").Items() {
			// The Azure SDKs' DefaultAzureCredential tries these before workload identity.
			// https://learn.microsoft.com/azure/developer/go/sdk/authentication/credential-chains
			variable, _ := e.Get("name").Text()
			if slices.Contains([]string{"AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_PASSWORD"}, variable) {
				l.find(ruleClientSecret, o, e.Position(), "container %s sets %s: Azure's SDKs sign in with it instead of workload identity; remove it", quote(name), variable)
			}
			value, _ := e.Get("value").Text()
			if slices.Contains([]string{contract.EnvFederatedTokenFile, "ARM_OIDC_TOKEN_FILE_PATH", "ARM_OIDC_TOKEN_FILE"}, variable) && ownToken(value) {
				l.find(ruleOwnTokenFile, o, e.Position(), "container %s sets %s to the token for the API server, which Entra refuses: use the file that the webhook's own %s names", quote(name), variable, contract.EnvFederatedTokenFile)
			}
			if variable == contract.EnvIdentityEndpoint && redirected {
				l.find(string(inject.ReasonOwnEndpoint), o, e.Position(), "container %s sets %s, but the proxy redirects requests for managed identity tokens without it: remove it, and IDENTITY_HEADER with it", quote(name), variable)
			}
		}
		if l.config.Layout != inject.LayoutV16 {
			continue
		}
		for _, part := range []string{"env", "command", "args"} {
			c.Get(part).Walk(func(v manifest.Value) {
				if text, ok := v.Text(); ok && strings.Contains(text, contract.LegacyMountPath+"/") {
					l.find(ruleTokenPath, o, v.Position(), "the token is not at %s with the token path v1.6.0: read %s instead of a fixed path, or run the webhook with --token-path=both", contract.LegacyMountPath, contract.EnvFederatedTokenFile)
				}
			})
		}
	}
}

// podIdentity finds what aad-pod-identity left behind.
func (l *linter) podIdentity(o manifest.Object) {
	const label = "aadpodidbinding"
	if strings.HasPrefix(o.APIVersion, "aadpodidentity.k8s.io/") {
		l.find(rulePodIdentity, o, o.Value.Position(), "aad-pod-identity is retired, and workload identity does not read its %s: azwi podidentity detect writes the replacement", o.Kind)
		return
	}
	places, _, _ := l.podPlaces(o)
	all := []manifest.Value{o.Value.Get("metadata", "labels")}
	for _, p := range places {
		all = append(all, p.labels)
	}
	for _, labels := range all {
		if m := labels.Get(label); m.Exists() {
			l.find(rulePodIdentity, o, m.KeyPosition(), "label %s is aad-pod-identity's and has no effect in workload identity: azwi podidentity detect writes the replacement", label)
		}
	}
}

// ownToken reports whether a path is that of the token which every pod has for the
// API server.
func ownToken(file string) bool {
	return strings.HasPrefix(strings.TrimPrefix(path.Clean(file), "/var"), "/run/secrets/kubernetes.io/serviceaccount/")
}

// redirected reports whether the pod asks for the proxy by redirect.
func (l *linter) redirected(template manifest.Value) bool {
	annotations := template.Get("metadata", "annotations")
	wanted, _ := annotations.Get(contract.InjectProxyAnnotation).Text()
	mode, hasMode := annotations.Get(contract.ProxyModeAnnotation).Text()
	return strings.EqualFold(wanted, "true") && (!hasMode || mode == contract.ProxyModeRedirect)
}

// misplacedAccount finds the name of a service account where the API server does not
// look for it, so that the pods run as another.
func (l *linter) misplacedAccount(o manifest.Object, template manifest.Value, account string, optsIn bool) {
	if account != "default" {
		return
	}
	look := func(v manifest.Value) {
		for _, m := range v.Members() {
			meant := strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(m.Key))
			name, isText := m.Value.Text()
			right := m.Key == "serviceAccountName" || m.Key == "serviceAccount"
			if meant != "serviceaccountname" && meant != "serviceaccount" || !isText || name == "" || name == "default" {
				continue
			}
			_, known := l.accounts[l.namespace(o)+"/"+name]
			if !optsIn && !known {
				continue
			}
			what := "is not where the API server reads it"
			if !right {
				what = "is not how the API server spells it"
			}
			l.find(ruleAccountMisplaced, o, m.Value.KeyPosition(), "%s %s, so the pod runs as default: write serviceAccountName: %s into the spec of the pod", m.Key, what, quote(name))
		}
	}
	// All that surrounds the pod's spec, it itself for its spelling, and containers.
	spec := template.Get("spec")
	surrounding := append(containers(template), template, template.Get("metadata"), spec, spec.Get("securityContext"))
	if isKubernetes(o) { // other projects' kinds may read the name elsewhere too
		for _, path := range [][]string{nil, {"metadata"}, {"spec"}, {"spec", "jobTemplate"}, {"spec", "jobTemplate", "spec"}} {
			surrounding = append(surrounding, o.Value.Get(path...))
		}
	}
	seen := map[manifest.Position]bool{}
	for _, v := range surrounding {
		if v.Exists() && !seen[v.Position()] {
			seen[v.Position()] = true
			look(v)
		}
	}
}
