package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"azwi/contract"
	"azwi/internal/pod/inject"
	"azwi/internal/pod/policy"
)

// A choice is a value of the chart that changes the policies' shape: what is
// generated with it, and the condition of which the template knows it.
type choice struct {
	condition string
	make      func(c *policy.Config)
}

// choices returns the lists of choices; of one list at most one is made, and those
// of a later list know which of the earlier ones were.
func choices() [][]choice {
	var lists [][]choice
	for _, s := range contract.ClusterDefaults() {
		set := func(value string) func(*policy.Config) {
			return func(c *policy.Config) {
				c.Settings.Defaults = maps.Clone(c.Settings.Defaults)
				c.Settings.Defaults[s.Annotation] = value
			}
		}
		list := []choice{{".Values." + s.Value, set(mark(variable(s)))}}
		if s.Type.Kind == contract.Choice {
			list = nil
			for _, v := range s.Type.Values {
				if v != s.Default {
					list = append(list, choice{fmt.Sprintf("eq .Values.%s %q", s.Value, v), set(v)})
				}
			}
		}
		lists = append(lists, list)
	}
	layout := func(l inject.Layout) choice {
		return choice{fmt.Sprintf("eq .Values.tokenPath %q", l), func(c *policy.Config) { c.Settings.Layout = l }}
	}
	endpoint := func(value string, set func(*inject.CustomTokenEndpoint)) choice {
		return choice{"$custom." + value, func(c *policy.Config) {
			e := &c.Settings.CustomTokenEndpoint
			if e.Annotation != "" && (e.TokenProxy != "" || value == "azureKubernetesTokenProxy") {
				set(e)
			}
		}}
	}
	return append(lists, [][]choice{
		{{".Values.policy.labelledAccounts", func(c *policy.Config) { c.LabelledAccounts = true }}},
		{layout(inject.LayoutV15), layout(inject.LayoutBoth)},
		{{"$custom.annotationSuffix", func(c *policy.Config) {
			c.Settings.CustomTokenEndpoint = inject.CustomTokenEndpoint{
				Annotation: contract.CustomTokenEndpointPrefix + mark("suffix"), Audience: mark("customAudience"),
			}
		}}},
		{endpoint("azureKubernetesTokenProxy", func(e *inject.CustomTokenEndpoint) { e.TokenProxy = mark("tokenProxy") })},
		{endpoint("azureKubernetesSniName", func(e *inject.CustomTokenEndpoint) { e.SNIName = mark("sni") })},
		{
			endpoint("azureKubernetesCaData", func(e *inject.CustomTokenEndpoint) { e.CAData = mark("caData") }),
			endpoint("azureKubernetesCAConfigMapName", func(e *inject.CustomTokenEndpoint) { e.CAConfigMap = mark("caConfigMap") }),
			endpoint("azureKubernetesCACTBSignerName", func(e *inject.CustomTokenEndpoint) { e.CATrustBundleSigner = mark("caSigner") }),
		},
	}...)
}

// variable is the template's for a setting: the path of the value as one word.
func variable(s contract.Setting) string {
	path := strings.Split(s.Value, ".")
	for i, name := range path[1:] {
		path[i+1] = strings.ToUpper(name[:1]) + name[1:]
	}
	return strings.Join(path, "")
}

// policyTemplate is the chart's template of the policy engine: what package policy
// generates for every combination of choices, joined.
func policyTemplate() ([]byte, error) {
	joined, err := variants{}.join(choices(), func(*policy.Config) {})
	if err != nil {
		return nil, err
	}
	var out strings.Builder
	header, err := policyHeader()
	if err != nil {
		return nil, err
	}
	out.WriteString(header)
	joined.write(&out)
	out.WriteString("{{- end }}\n")
	return []byte(out.String()), nil
}

// variants are the policies by the configuration that they were generated from, as
// JSON: many combinations come to the same.
type variants map[string]template

// join tries all choices of the first list, each with all combinations of the rest.
func (v variants) join(lists [][]choice, set func(*policy.Config)) (template, error) {
	if len(lists) == 0 {
		return v.get(set)
	}
	joined, err := v.join(lists[1:], set)
	if err != nil {
		return nil, err
	}
	for _, choice := range slices.Backward(lists[0]) {
		chosen, err := v.join(lists[1:], func(c *policy.Config) { set(c); choice.make(c) })
		if err != nil {
			return nil, err
		}
		joined = choose(choice.condition, chosen, joined)
	}
	return joined, nil
}

func (v variants) get(set func(*policy.Config)) (template, error) {
	c := markedConfig()
	set(&c)
	key, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	if known, ok := v[string(key)]; ok {
		return known, nil
	}
	made, err := variant(c)
	v[string(key)] = made
	return made, err
}

func marked(name string) map[string]string { return map[string]string{mark(name): "x"} }

// markedConfig has marks where the chart has values.
func markedConfig() policy.Config {
	return policy.Config{
		Version:    mark("version"),
		Namespaces: &policy.Selector{MatchLabels: marked("namespaceSelector")},
		Settings: inject.Settings{
			TenantID: mark("tenantID"), AuthorityHost: mark("authorityHost"), Audience: mark("audience"), Defaults: map[string]string{},
			Proxy: inject.Proxy{
				Image: mark("proxyImage"), LogLevel: mark("logLevel"), NativeSidecar: true,
				Resources:     &inject.Resources{Requests: marked("proxyRequests"), Limits: marked("proxyLimits")},
				InitResources: &inject.Resources{Requests: marked("initRequests"), Limits: marked("initLimits")},
			},
		},
	}
}

// variant is what is generated from one configuration.
func variant(c policy.Config) (template, error) {
	objects, err := policy.Generate(c)
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	for _, o := range objects {
		o.Metadata.Labels = marked("labels")
		var node yaml.Node
		if err := node.Encode(o); err != nil {
			return nil, err
		}
		literalStyle(&node)
		text.WriteString("---\n")
		e := yaml.NewEncoder(&text)
		e.SetIndent(2)
		if err := e.Encode(&node); err != nil {
			return nil, err
		}
	}
	// A selector is the chart's value as a whole.
	return lines(strings.ReplaceAll(text.String(), "matchLabels:\n        "+mark("namespaceSelector"), mark("namespaceSelector"))), nil
}

// literalStyle writes each expression on lines of its own, so that whatever a value
// has in it needs no quotes of YAML's.
func literalStyle(n *yaml.Node) {
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if strings.HasSuffix(strings.ToLower(n.Content[i].Value), "expression") {
				n.Content[i+1].Style = yaml.LiteralStyle
			}
		}
	}
	for _, child := range n.Content {
		literalStyle(child)
	}
}

// policyHeader gives the marks' variables their values.
func policyHeader() (string, error) {
	proxy, err := json.Marshal(inject.DefaultProxyResources())
	if err != nil {
		return "", err
	}
	init, err := json.Marshal(inject.DefaultProxyInitResources())
	if err != nil {
		return "", err
	}
	var defaults strings.Builder
	for _, s := range contract.ClusterDefaults() {
		if s.Type.Kind != contract.Choice {
			fmt.Fprintf(&defaults, "{{- $%s := include \"azwi.cel\" .Values.%s }}\n", variable(s), s.Value)
		}
	}
	return fmt.Sprintf(`{{- /* Made by make generate from what azwi policy generate writes. Do not edit. */ -}}
{{- include "azwi.defaults" . -}}
{{- if eq .Values.engine "policy" }}
{{- if not (semverCompare ">=1.36-0" .Capabilities.KubeVersion.Version) }}
{{- fail (printf "engine policy needs Kubernetes 1.36 or later, this is %%s: set engine to webhook" .Capabilities.KubeVersion.Version) }}
{{- end }}
{{- $custom := .Values.customTokenEndpoint | default dict }}
{{- $labels := include "azwi.labels" . }}
{{- $namespaceSelector := toYaml (.Values.mutatingWebhookNamespaceSelector | default dict) }}
{{- $version := include "azwi.cel" .Chart.AppVersion }}
{{- $tenantID := include "azwi.cel" (include "azwi.tenantID" .) }}
{{- $authorityHost := include "azwi.cel" (include "azwi.authorityHost" .) }}
{{- $audience := include "azwi.cel" (.Values.audience | default %q) }}
{{- $logLevel := include "azwi.cel" (.Values.logLevel | default "info") }}
{{- $proxyImage := include "azwi.cel" (include "azwi.proxyImage" .) }}
%s{{- $suffix := include "azwi.cel" $custom.annotationSuffix }}
{{- $customAudience := include "azwi.cel" $custom.audience }}
{{- $tokenProxy := include "azwi.cel" $custom.azureKubernetesTokenProxy }}
{{- $sni := include "azwi.cel" $custom.azureKubernetesSniName }}
{{- $caData := include "azwi.cel" $custom.azureKubernetesCaData }}
{{- $caConfigMap := include "azwi.cel" $custom.azureKubernetesCAConfigMapName }}
{{- $caSigner := include "azwi.cel" $custom.azureKubernetesCACTBSignerName }}
{{- $proxyResources := .Values.proxy.resources | default (fromJson %q) }}
{{- $proxyRequests := include "azwi.quantities" $proxyResources.requests }}
{{- $proxyLimits := include "azwi.quantities" $proxyResources.limits }}
{{- $initResources := .Values.proxy.initResources | default (fromJson %q) }}
{{- $initRequests := include "azwi.quantities" $initResources.requests }}
{{- $initLimits := include "azwi.quantities" $initResources.limits }}
`, contract.DefaultAudience, &defaults, proxy, init), nil
}
