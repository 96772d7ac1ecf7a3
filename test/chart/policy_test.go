package chart_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"azwi/internal/cli"
	"azwi/internal/install"
	"azwi/internal/pod/policy"
	"azwi/internal/version"
)

// choices are values that change the policies, each in several ways; in one
// customTokenEndpoint, whose values depend on each other.
func choices() [][]string {
	const custom = "customTokenEndpoint: {annotationSuffix: identity-binding, audience: api://AKSIdentityBinding"
	return [][]string{
		{"", "azureEnvironment: AzureUSGovernmentCloud", "azureEnvironment: AZURECHINACLOUD", "azureEnvironment: azureusgovernment", "azureEnvironment: AzureCloud", "authorityHost: https://login.example/x"},
		{"", "audience: \"odd \\\"text\\\" \\\\ 'x' <&> é\"", "audience: api://other", "audience: api://AzureADTokenExchangeUSGov"},
		{"", "tokenPath: v1.5.1", "tokenPath: both"},
		{"", "logLevel: debug"},
		{"", "policy: {labelledAccounts: true}"},
		{"", "mutatingWebhookNamespaceSelector: {matchLabels: {team: payments}}", "mutatingWebhookNamespaceSelector: {matchExpressions: [{key: team, operator: In, values: [a, b]}]}"},
		{
			"", "proxy: {image: {repository: r.example/p, release: v7}, mode: env}", "proxy: {httpsProxy: 'http://p:3128'}", "proxy: {noProxy: 10.0.0.0/8}", "proxy: {caConfigMap: ca}",
			"proxy: {httpsProxy: 'http://p:3128', noProxy: .local, caConfigMap: ca, resources: {requests: {cpu: 1, memory: 1Gi}, limits: {memory: 2Gi}}, initResources: {limits: {cpu: 100m}, requests: {cpu: 5m}}}",
		},
		{
			"", custom + "}", custom + ", azureKubernetesCaData: unused}", custom + ", azureKubernetesTokenProxy: 'https://p'}",
			custom + ", azureKubernetesTokenProxy: 'https://p', azureKubernetesSniName: sni, azureKubernetesCaData: \"-----BEGIN\\nx\\n\"}",
			custom + ", azureKubernetesTokenProxy: 'https://p', azureKubernetesCAConfigMapName: ca}",
			custom + ", azureKubernetesTokenProxy: 'https://p', azureKubernetesSniName: sni, azureKubernetesCACTBSignerName: s}",
		},
	}
}

// TestPolicies: engine policy gives the policies that azwi policy generate does from
// the flags and environment that engine webhook gives the webhook. Each choice is
// tried alone and with each other one, and some with all.
func TestPolicies(t *testing.T) {
	t.Parallel()
	lists := choices()
	combinations := [][]string{first(lists)}
	for i, list := range lists {
		for _, one := range list[1:] {
			base := first(lists)
			base[i] = one
			combinations = append(combinations, base)
			for j := range i {
				for _, other := range lists[j][1:] {
					both := slices.Clone(base)
					both[j] = other
					combinations = append(combinations, both)
				}
			}
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		var all []string
		for _, list := range lists {
			all = append(all, list[random.IntN(len(list))])
		}
		combinations = append(combinations, all)
	}
	for _, c := range combinations {
		samePolicies(t, strings.Join(c, "\n"))
	}
	t.Logf("%d combinations", len(combinations))
}

func first(lists [][]string) []string {
	var f []string
	for _, list := range lists {
		f = append(f, list[0])
	}
	return f
}

func samePolicies(t *testing.T, values string) {
	t.Helper()
	want := generated(t, values)
	got, _, err := renderVersion(t, version.String(), parse(t, values+"\nengine: policy"))
	if err != nil {
		t.Fatalf("%s: %v", values, err)
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d objects, want %d", values, len(got), len(want))
	}
	for i, w := range want {
		var plain install.Object
		raw, err := w.JSON()
		if err == nil {
			err = json.Unmarshal(raw, &plain)
		}
		if err != nil {
			t.Fatal(err)
		}
		if plain.Ref() != got[i].Ref() {
			t.Errorf("%s: object %d is %s, want %s", values, i, got[i].Ref(), plain.Ref())
		}
		if diff := cmp.Diff(withoutBlanks(plain["spec"]), withoutBlanks(got[i]["spec"])); diff != "" {
			t.Errorf("%s:\n%s -azwi policy generate +chart:\n%s", values, plain.Ref(), diff)
		}
	}
}

// generated is what azwi policy generate makes of the webhook's settings.
func generated(t *testing.T, values string) []policy.Object {
	t.Helper()
	parsed := parse(t, values)
	objects, _, err := renderVersion(t, version.String(), parsed)
	if err != nil {
		t.Fatalf("%s: %v", values, err)
	}
	args := []string{"policy", "generate"}
	env := map[string]string{}
	for _, o := range objects {
		switch o.Kind() {
		case "ConfigMap":
			for key, value := range o["data"].(object) {
				env[key] = value.(string)
			}
		case "Deployment":
			pod := o["spec"].(object)["template"].(object)["spec"].(object)
			for _, arg := range pod["containers"].([]any)[0].(object)["args"].([]any) {
				if regexp.MustCompile(`^--(audience|token-path|custom-|proxy-|log-level)`).MatchString(arg.(string)) {
					args = append(args, arg.(string))
				}
			}
		}
	}
	if p, ok := parsed["policy"].(object); ok && p["labelledAccounts"] == true {
		args = append(args, "--labelled-accounts")
	}
	if strings.Contains(values, "{team: payments}") {
		args = append(args, "--namespace-selector=team=payments")
	} else if strings.Contains(values, "values: [a, b]") {
		args = append(args, "--namespace-selector=team in (a,b)")
	}
	var out, errs bytes.Buffer
	if code := cli.Run(t.Context(), args, cli.Streams{Out: &out, Err: &errs}, func(key string) string { return env[key] }); code != 0 {
		t.Fatalf("%s: azwi %q: exit code %d, %s", values, args, code, &errs)
	}
	decoded, err := policy.Decode(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return decoded
}

// withoutBlanks takes blanks between CEL's words out of all texts: the generator breaks lines by the values' lengths, which the chart does not know.
func withoutBlanks(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for key, value := range v {
			m[key] = withoutBlanks(value)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, item := range v {
			l[i] = withoutBlanks(item)
		}
		return l
	case string:
		return outsideQuotes(v)
	}
	return v
}

func outsideQuotes(text string) string {
	return regexp.MustCompile(`"(?:[^"\\]|\\.)*"|\s+`).ReplaceAllStringFunc(text, func(s string) string {
		if strings.HasPrefix(s, `"`) {
			return s
		}
		return ""
	})
}
