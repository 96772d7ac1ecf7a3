package lint

import (
	"encoding/json"
	"path"
	"slices"
	"strings"

	"azwi/contract"
	"azwi/internal/finding"
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
					l.find(finding.SubPath(key, name), o, sub.KeyPosition())
				}
			}
			if name == contract.LegacyVolume && !slices.Contains(own, name) && l.config.Layout == inject.LayoutV16 {
				l.find(finding.TokenVolume(), o, m.Position())
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
				l.find(finding.ClientSecret(name, variable), o, e.Position())
			}
			value, _ := e.Get("value").Text()
			if slices.Contains([]string{contract.EnvFederatedTokenFile, "ARM_OIDC_TOKEN_FILE_PATH", "ARM_OIDC_TOKEN_FILE"}, variable) && ownToken(value) {
				l.find(finding.OwnTokenFile(name, variable), o, e.Position())
			}
			if variable == contract.EnvIdentityEndpoint && redirected {
				l.find(finding.NeedlessEndpoint(name, variable), o, e.Position())
			}
		}
		if l.config.Layout != inject.LayoutV16 {
			continue
		}
		for _, part := range []string{"env", "command", "args"} {
			c.Get(part).Walk(func(v manifest.Value) {
				if text, ok := v.Text(); ok && strings.Contains(text, contract.LegacyMountPath+"/") {
					l.find(finding.TokenPath(), o, v.Position())
				}
			})
		}
	}
}

// podIdentity finds what aad-pod-identity left behind.
func (l *linter) podIdentity(o manifest.Object) {
	const label = "aadpodidbinding"
	if strings.HasPrefix(o.APIVersion, "aadpodidentity.k8s.io/") {
		l.find(finding.PodIdentityKind(o.Kind), o, o.Value.Position())
		return
	}
	places, _, _ := l.podPlaces(o)
	all := []manifest.Value{o.Value.Get("metadata", "labels")}
	for _, p := range places {
		all = append(all, p.labels)
	}
	for _, labels := range all {
		if m := labels.Get(label); m.Exists() {
			l.find(finding.PodIdentityLabel(label), o, m.KeyPosition())
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
			misplaced := finding.AccountMisplaced
			if !right {
				misplaced = finding.AccountMisspelt
			}
			l.find(misplaced(m.Key, name), o, m.Value.KeyPosition())
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
