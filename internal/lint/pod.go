package lint

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"azwi/contract"
	"azwi/internal/inject"
	"azwi/internal/manifest"
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
				l.find(ruleClientSecret, o, e.Position(), "container %s sets %s: Azure's SDKs sign in with it and never come to workload identity; remove it", quote(name), variable)
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
		l.find(rulePodIdentity, o, o.Value.Position(), "aad-pod-identity has ended, and workload identity does not read its %s: azwi podidentity detect writes what replaces it", o.Kind)
		return
	}
	template, _ := templateOf(o)
	for _, labels := range []manifest.Value{o.Value.Get("metadata", "labels"), template.Get("metadata", "labels")} {
		if m := labels.Get(label); m.Exists() {
			l.find(rulePodIdentity, o, m.KeyPosition(), "label %s is aad-pod-identity's and has no effect in workload identity: azwi podidentity detect writes what replaces it", label)
		}
	}
}
