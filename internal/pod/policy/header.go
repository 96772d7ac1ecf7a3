package policy

import (
	"encoding/json"
	"fmt"
	"strings"

	"azwi/contract"
	"azwi/internal/pod/inject"
)

// header is the comment that tells from which settings the policies were made.
func (c Config) header() string {
	s := c.Settings
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "#   %-34s %s\n", name, strings.Join(strings.Fields(value), " "))
		}
	}
	b.WriteString("# Workload identity by admission policies, made by: azwi policy generate\n")
	b.WriteString("# Do not edit; generate it again. Settings (defaults left out):\n#\n")
	line("azwi", c.Version)
	line(contract.EnvTenantID, s.TenantID)
	line("authority host", s.AuthorityHost)
	line("--audience", s.Audience)
	line("--token-path", s.Layout.String())
	if e := s.CustomTokenEndpoint; e.Annotation != "" {
		line("custom token endpoint's annotation", e.Annotation)
		line("--custom-token-endpoint-audience", e.Audience)
		line(contract.EnvTokenProxy, e.TokenProxy)
		line(contract.EnvSNIName, e.SNIName)
		if e.CAData != "" {
			line(contract.EnvCAData, fmt.Sprintf("%d bytes", len(e.CAData)))
		}
		line(contract.EnvCAConfigMapName, e.CAConfigMap)
		line(contract.EnvCACTBSignerName, e.CATrustBundleSigner)
		line(contract.EnvCACTBLabelSelector, string(e.CATrustBundleSelector))
	}
	line(contract.EnvProxyImage, s.Proxy.Image)
	line(contract.EnvProxyInitImage, s.Proxy.InitImage)
	for _, d := range contract.ClusterDefaults() {
		line("--"+d.Flag, s.Defaults[d.Annotation])
	}
	line("--proxy-resources", resources(s.Proxy.Resources))
	line("--proxy-init-resources", resources(s.Proxy.InitResources))
	line("--log-level", s.Proxy.LogLevel)
	if c.LabelledAccounts {
		line("--labelled-accounts", "true")
	}
	if c.Name != DefaultName {
		line("--name", c.Name)
	}
	if c.Namespaces != nil {
		line("--namespace-selector", fmt.Sprintf("%v %v", c.Namespaces.MatchLabels, c.Namespaces.MatchExpressions))
	}
	b.WriteString("#\n# Order: what denies comes before what injects. To remove, the reverse.\n---\n")
	return b.String()
}

func resources(r *inject.Resources) string {
	if r == nil {
		return ""
	}
	raw, err := json.Marshal(r)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}
