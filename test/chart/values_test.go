package chart_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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
		"clientNames: [kube-apiserver]":                                 "clientNames needs clientCA.configMapName or clientCA.secretName",
		"clientCA: {configMapName: a, secretName: b}":                   "clientCA.configMapName and clientCA.secretName are both set",
		"{clientCA: {secretName: a}, clientNames: [a,b, 'c,d']}":        "chart value clientNames.2:",
		"azureTenantID: null":                                           "azureTenantID is required",
		"azureTenantId: x":                                              "unknown value azureTenantId: the nearest that the chart has is azureTenantID",
		"replicaCount: two":                                             "chart value replicaCount:",
		"image: {tag: v1}":                                              "unknown value image.tag: the nearest that the chart has is image.release",
		"image: {pullpolicy: Always}":                                   "the nearest that the chart has is image.pullPolicy",
		"targetPort: 9443":                                              "the nearest that the chart has is service.targetPort",
		"mutatingWebhookAnnotation: {a: b}":                             "the nearest that the chart has is mutatingWebhookAnnotations",
		"customTokenEndpoint: {azureKubernetesCAData: x}":               "the nearest that the chart has is customTokenEndpoint.azureKubernetesCaData",
		"replicas: 3":                                                   "the nearest that the chart has is replicaCount",
		"zzz: 1":                                                        "unknown value zzz: the chart's values.yaml lists what there is",
		"podLabels: {azure.workload.identity/use: 'true'}":              "podLabels has azure.workload.identity/use: the webhook's own pods would wait for a webhook",
		"extraLabels: {azure.workload.identity/use: 'true'}":            "extraLabels has azure.workload.identity/use",
		"{image: {repository: corp.example/hook, release: 1.6}}":        "image.release 1.6 is a tag of upstream's webhook",
		"proxy: {image: {repository: mirror/token-proxy, tag: v1.5.1}}": "set proxy.initImage.repository",
		"image: {pullPolicy: Sometimes}":                                "value must be one of 'Always', 'IfNotPresent', 'Never'",
		"image: {digest: abc}":                                          "chart value image.digest:",
		"image: {repository: r/azure/workload-identity/webhook}":        "is a copy of upstream's webhook",
		"engine: sidecar":                                               "value must be one of 'webhook', 'policy'",
		"failurePolicy: fail":                                           "value must be one of 'Fail', 'Ignore'",
		"timeoutSeconds: 31":                                            "chart value timeoutSeconds: maximum: got 31, want 30",
		"tokenPath: /tmp":                                               "value must be one of 'v1.6.0', 'v1.5.1', 'both'",
		"authorityHost: http://login.example":                           "chart value authorityHost:",
		"azureEnvironment: AzureGermanCloud":                            "for another cloud set authorityHost",
		"azureTenantID: contoso.onmicrosoft.com":                        "azureTenantID contoso.onmicrosoft.com is not a GUID",
		"azureTenantID: ${AZURE_TENANT_ID}":                             "is not a GUID",
		"global: {}":                                                    "no registry is named for azwi/webhook, and anybody may own that name in a public one: set global.imageRegistry to the registry that has azwi/webhook and azwi/proxy (azwi install --image-registry REGISTRY), or image.registry",
		"{global: null, image: {repository: team/azwi/webhook}}":        "no registry is named for team/azwi/webhook",
		"{global: {}, image: {registry: registry.example}}":             "proxy.image: no registry is named for azwi/proxy",
		"{global: {}, engine: policy}":                                  "proxy.image: no registry is named for azwi/proxy",
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
		"proxy: {httpsProxy: 'http://u:pw@proxy.example:3128'}":                                              "proxy.httpsProxy has a password",
		"proxy: {httpsProxy: 'u:pw@proxy.example:3128'}":                                                     "proxy.httpsProxy has a password",
		"{engine: policy, proxy: {httpsProxy: 'http://u:pw@proxy.example'}}":                                 "proxy.httpsProxy has a password",
		"extraEnv: [{name: HTTPS_PROXY, value: 'http://u:pw@p.example'}]":                                    "extraEnv: the value of HTTPS_PROXY has a password",
		"runAsUser: 0":                             "chart value runAsUser:",
		"runAsUser: root":                          "chart value runAsUser:",
		"proxy: {mode: iptables}":                  "value must be one of 'redirect', 'env'",
		"certificates: {mode: acme}":               "value must be one of 'own', 'cert-manager', 'provided'",
		"certificates: {caBundle: zzz}":            "chart value certificates.caBundle:",
		"matchConditions: [{name: x}]":             "missing property 'expression'",
		"service: {port: 0}":                       "chart value service.port:",
		"extraLabels: {a: 1}":                      "chart value extraLabels.a: got number, want string",
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

// TestNulls: null unsets a value, so that its default holds, and removes what there
// may be none of.
func TestNulls(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(chartDir + "/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	type schema struct{ Properties map[string]json.RawMessage }
	var leaves func(raw json.RawMessage) object
	leaves = func(raw json.RawMessage) object {
		var s schema
		if err := json.Unmarshal(raw, &s); err != nil {
			t.Fatal(err)
		}
		nulls := object{}
		for name, member := range s.Properties {
			if of := leaves(member); len(of) > 0 {
				nulls[name] = of
			} else {
				nulls[name] = nil
			}
		}
		return nulls
	}
	each := leaves(text)
	each["azureTenantID"], each["global"] = tenant, object{"imageRegistry": registry}
	all := object{}
	for name := range each {
		all[name] = nil
	}
	all["azureTenantID"], all["global"] = tenant, object{"imageRegistry": registry}
	for _, engine := range []string{install.EngineWebhook, install.EnginePolicy} {
		want := rendered(t, parse(t, "{engine: "+engine+", nodeSelector: {kubernetes.io/os: null}, priorityClassName: '', resources: {requests: {cpu: null, memory: null}, limits: {memory: null}}}"))
		if engine == install.EnginePolicy {
			each["engine"], all["engine"] = engine, engine
		}
		for name, values := range map[string]object{"each null": each, "all null": all} {
			if diff := cmp.Diff(want, rendered(t, values)); diff != "" {
				t.Errorf("engine %s, %s: -default +null\n%s", engine, name, diff)
			}
		}
	}
}

// rendered is the YAML, without what says that there are no requests and limits.
func rendered(t *testing.T, values object) string {
	t.Helper()
	objects, _, err := render(t, values)
	if err != nil {
		t.Fatal(err)
	}
	text, err := install.YAML(objects)
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`resources:\s+limits: \{\}\s+requests: \{\}`).ReplaceAllString(string(text), "resources: {}")
}

// TestNotes: values of other charts are taken, and told to be without effect.
func TestNotes(t *testing.T) {
	t.Parallel()
	for values, want := range map[string]string{
		"{arcCluster: false, logEncoder: console, labels: {a: b}, mutatingWebhookFailurePolicy: Fail, webhook: {image: {repository: x, tag: y}}, namespace: z}": "without effect in this one: arcCluster, labels, logEncoder, mutatingWebhookFailurePolicy, namespace, webhook.",
		"image: {repository: hooks/identity}": "The webhook's image is registry.example/hooks/identity:v1. It must be a copy of azwi/webhook",
	} {
		_, notes, err := render(t, parse(t, values))
		if err != nil || !strings.Contains(notes, want) {
			t.Errorf("%s: %v, not in the notes: %q\n%s", values, err, want, notes)
		}
	}
	if _, notes, err := render(t, parse(t, "arcCluster: null")); err != nil || strings.Contains(notes, "without effect") || strings.Contains(notes, "It must be") {
		t.Errorf("%v\n%s", err, notes)
	}
}
