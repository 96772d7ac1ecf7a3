package chart_test

import (
	"os"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/action"
	"sigs.k8s.io/yaml"

	"azwi/internal/install"
)

const tenant = "11111111-1111-1111-1111-111111111111"

// registry has the images; nothing is pulled.
const registry = "registry.example"

// parse reads values as a user writes them, with the tenant and a registry.
func parse(t *testing.T, text string) object {
	t.Helper()
	values := object{"azureTenantID": tenant, "global": object{"imageRegistry": registry}}
	if err := yaml.Unmarshal([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	return values
}

func render(t *testing.T, values object) ([]install.Object, string, error) {
	t.Helper()
	return renderVersion(t, "v1", values)
}

func renderVersion(t *testing.T, version string, values object) ([]install.Object, string, error) {
	t.Helper()
	return install.Render(t.Context(), install.Release{
		Name: "wi", Namespace: "azwi", Version: version, Values: values,
		Kubernetes: "v1.36.0", APIVersions: []string{"flowcontrol.apiserver.k8s.io/v1"},
	})
}

// TestWrongValues: each is refused, by name.
func TestWrongValues(t *testing.T) {
	t.Parallel()
	for values, want := range map[string]string{
		"azureTenantID: null":            "azureTenantID is required",
		"azureTenantId: x":               "additional properties 'azureTenantId' not allowed",
		"replicaCount: two":              "at '/replicaCount'",
		"image: {tag: v1}":               "at '/image': additional properties 'tag' not allowed",
		"image: {pullPolicy: Sometimes}": "value must be one of 'Always', 'IfNotPresent', 'Never'",
		"image: {digest: abc}":           "at '/image/digest'",
		"image: {repository: r/azure/workload-identity/webhook}": "is a copy of upstream's webhook",
		"engine: sidecar":                                        "value must be one of 'webhook', 'policy'",
		"failurePolicy: fail":                                    "value must be one of 'Fail', 'Ignore'",
		"timeoutSeconds: 31":                                     "at '/timeoutSeconds': maximum: got 31, want 30",
		"tokenPath: /tmp":                                        "value must be one of 'v1.6.0', 'v1.5.1', 'both'",
		"authorityHost: http://login.example":                    "at '/authorityHost'",
		"azureEnvironment: AzureGermanCloud":                     "for another cloud set authorityHost",
		"azureTenantID: contoso.onmicrosoft.com":                 "azureTenantID contoso.onmicrosoft.com is not a GUID",
		"azureTenantID: ${AZURE_TENANT_ID}":                      "is not a GUID",
		"global: {}":                                             "no registry is named for azwi/webhook, and anybody may own that name in a public one: set global.imageRegistry to the registry that has azwi/webhook and azwi/proxy (azwi install --image-registry REGISTRY), or image.registry",
		"{global: null, image: {repository: team/azwi/webhook}}": "no registry is named for team/azwi/webhook",
		"{global: {}, image: {registry: registry.example}}":      "proxy.image: no registry is named for azwi/proxy",
		"{global: {}, engine: policy}":                           "proxy.image: no registry is named for azwi/proxy",
		"{global: {}, image: {repository: mcr.microsoft.com/oss/azure/workload-identity/webhook, release: v1.6.0}}": "no registry is named for azwi/webhook",
		"global: {imageRegistry: 'https://registry.example/'}":                                                      "https://registry.example/azwi/webhook is a URL: name the registry without https://",
		"{global: {}, image: {registry: 'oci://registry.example'}}":                                                 "is a URL",
		"{global: {}, image: {registry: r.example}, proxy: {image: {registry: 'http://r.example'}}}":                "proxy.image: http://r.example/azwi/proxy is a URL",
		"{image: {release: v1.6.0}}": "image.release v1.6.0 is a tag of upstream's webhook",
		"{image: {repository: corp.example/oss/identity-hook, release: 1.5.1-corp.2}}":                       "image.release 1.5.1-corp.2 is a tag of upstream's webhook",
		"image: {repository: corp.example/mirror/azure-workload-identity-webhook}":                           "is a copy of upstream's webhook",
		"proxy: {image: {repository: mcr.microsoft.com/oss/azure/workload-identity/proxy, release: v1.6.0}}": "set proxy.initImage.repository",
		"{engine: policy, proxy: {initImage: {repository: r.example/proxy-init}}}":                           "proxy.initImage is not in the chart",
		"externalURL: https://webhook.example/mutate":                                                        "externalURL https://webhook.example/mutate: the webhook serves /mutate-v1-pod and nothing else",
		"externalURL: https://webhook.example/mutate-v1-pod/":                                                "nothing else",
		"externalURL: https://webhook.example/mutate-v1-pod?x=1":                                             "nothing else",
		"proxy: {mode: iptables}":                  "value must be one of 'redirect', 'env'",
		"certificates: {mode: acme}":               "value must be one of 'own', 'cert-manager', 'provided'",
		"certificates: {caBundle: zzz}":            "at '/certificates/caBundle'",
		"matchConditions: [{name: x}]":             "missing property 'expression'",
		"service: {port: 0}":                       "at '/service/port'",
		"extraLabels: {a: 1}":                      "at '/extraLabels/a': got number, want string",
		"customTokenEndpoint: {audience: api://x}": "go together: set both or neither",
		"customTokenEndpoint: {annotationSuffix: x, audience: api://x, azureKubernetesCaData: a, azureKubernetesCAConfigMapName: b}": "at most one of",
		"customTokenEndpoint: {azureKubernetesCACTBLabelSelector: '{}'}":                                                             "needs azureKubernetesCACTBSignerName",
		"{externalURL: 'https://x', certificates: {mode: cert-manager}}":                                                             "the chart can't keep the certificate",
		"{engine: policy, failurePolicy: Ignore}":                                                                                    "always fails closed",
		"{engine: policy, matchConditions: [{name: a, expression: 'true'}]}":                                                         "matchConditions are the webhook's",
	} {
		_, _, err := render(t, parse(t, values))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", values, err, want)
		}
	}
}

// TestUpstreamValues: all of upstream's values are taken, those that nobody uses in
// an image's name too.
func TestUpstreamValues(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(upstreamDir + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	values := parse(t, string(text))
	values["azureTenantID"] = tenant
	values["global"] = object{"imageRegistry": registry}
	for _, more := range []string{"", "nameOverride: other", "fullnameOverride: f", "enabled: true", "global: {anything: [goes], imageRegistry: registry.example}"} {
		if err := yaml.Unmarshal([]byte(more), &values); err != nil {
			t.Fatal(err)
		}
		if _, _, err := render(t, values); err != nil {
			t.Errorf("with %s: %v", more, err)
		}
	}
}

func TestLint(t *testing.T) {
	t.Parallel()
	result := action.NewLint().Run([]string{chartDir}, parse(t, ""))
	for _, m := range result.Messages {
		if m.Severity > 1 {
			t.Error(m)
		} else {
			t.Log(m)
		}
	}
	for _, err := range result.Errors {
		t.Error(err)
	}
}
