package chart_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"azwi/internal/install"
)

// TestObjects: the API server takes every object, unknown fields refused, and each
// value does what it says.
func TestObjects(t *testing.T) {
	c := control.Start(t)
	if err := c.CreateNamespace(t.Context(), "azwi"); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, values string
		has, hasNot  []string // in the YAML
	}{
		{"defaults", "", []string{
			"image: registry.example/azwi/webhook:v1", "PROXY_IMAGE: registry.example/azwi/proxy:v1", "AZURE_ENVIRONMENT: AzurePublicCloud", "minAvailable: 1",
			"topologyKey: kubernetes.io/hostname", "failurePolicy: Fail", "kind: FlowSchema", "- --cert-secret=azure-wi-webhook-server-cert", "memory: 64Mi", "volumes: []", "volumeMounts: []", "tolerations: []", "affinity: {}",
		}, []string{"PROXY_INIT_IMAGE", "hostNetwork", "NetworkPolicy", "Monitor", "disable-cert-rotation", "caBundle"}},
		{"images", "{global: {imageRegistry: registry.example/mirror}, image: {release: v9, digest: 'sha256:" + strings.Repeat("a", 64) + "'}, imagePullSecrets: [{name: pull}]}",
			[]string{"image: registry.example/mirror/azwi/webhook:v9@sha256:aaaa", "PROXY_IMAGE: registry.example/mirror/azwi/proxy:v1", "name: pull"}, nil},
		{"images of several registries", "{global: null, image: {registry: localhost/}, proxy: {image: {repository: 'registry:5000/p', tag: v7}}}",
			[]string{"image: localhost/azwi/webhook:v1", "PROXY_IMAGE: registry:5000/p:v7"}, nil},
		{"upstream's image", "{image: {registry: mcr.microsoft.com, repository: oss/azure/workload-identity/webhook, release: v1.6.0}}",
			[]string{"image: registry.example/azwi/webhook:v1"}, []string{"mcr.microsoft.com"}},
		{"upstream's image, and ours in a registry", "{global: {}, image: {registry: r.example, repository: mcr.microsoft.com/oss/azure/workload-identity/webhook, release: v1.6.0}, proxy: {image: {registry: r.example}}}",
			[]string{"image: r.example/azwi/webhook:v1"}, []string{"mcr.microsoft.com"}},
		{"upstream's proxy images", "{global: {}, image: {registry: r.example}, proxy: {image: {repository: mcr.microsoft.com/oss/azure/workload-identity/proxy, tag: v1.6.0}, initImage: {registry: mcr.microsoft.com, repository: oss/azure/workload-identity/proxy-init, tag: v1.6.0}}}",
			[]string{"PROXY_IMAGE: mcr.microsoft.com/oss/azure/workload-identity/proxy:v1.6.0", "PROXY_INIT_IMAGE: mcr.microsoft.com/oss/azure/workload-identity/proxy-init:v1.6.0"}, nil},
		{"a cloud by az's name", "azureEnvironment: AzureUSGovernment", []string{"AZURE_ENVIRONMENT: AzureUSGovernment\n"}, nil},
		{"another cloud", "{azureEnvironment: AzureStackCloud, authorityHost: 'https://login.stack.example/'}", []string{"AZURE_AUTHORITY_HOST: https://login.stack.example/"}, nil},
		{"no limit", "resources: {limits: {memory: null, cpu: null}, requests: {cpu: 0.1, memory: 33554432}}", []string{"cpu: 0.1\n", "limits: {}"}, []string{"64Mi"}},
		{"no node selector", "nodeSelector: {kubernetes.io/os: null, pool: system}", []string{"pool: system"}, []string{"kubernetes.io/os"}},
		{"numbers as text", "{revisionHistoryLimit: '3', timeoutSeconds: '7', service: {port: '8443', targetPort: '9443'}, podDisruptionBudget: {minAvailable: '0'}, flowSchema: {matchingPrecedence: '800'}, networkPolicy: {enabled: true, apiServerPorts: ['443']}}",
			[]string{"revisionHistoryLimit: 3", "timeoutSeconds: 7", "port: 8443", "minAvailable: 0", "matchingPrecedence: 800"}, nil},
		{"text as numbers", "{tlsMinVersion: 1.2, image: {release: 20261127}, proxy: {image: {release: 2.5}, resources: {limits: {cpu: 1, memory: 134217728}}}, podDisruptionBudget: {minAvailable: 0}}",
			[]string{"- --tls-min-version=1.2", "azwi/webhook:20261127", "azwi/proxy:2.5", `"memory":"134217728"`, "minAvailable: 0"}, nil},
		{"one replica", "replicaCount: 1", nil, []string{"PodDisruptionBudget"}},
		{"replicas as text", "replicaCount: '3'", []string{"replicas: 3"}, nil},
		{"budget", "podDisruptionBudget: {maxUnavailable: 25%}", []string{"maxUnavailable: 25%"}, []string{"minAvailable"}},
		{"cloud", "{azureEnvironment: AzureChinaCloud, authorityHost: 'https://login.example/', audience: api://x, tokenPath: both}",
			[]string{"AZURE_ENVIRONMENT: AzureChinaCloud", "AZURE_AUTHORITY_HOST: https://login.example/", "- --audience=api://x", "- --token-path=both"}, nil},
		{"admission", "{failurePolicy: Ignore, timeoutSeconds: 3, matchConditions: [{name: no-system, expression: 'object.metadata.namespace != \"kube-system\"'}], disableAdmissionEnforcer: true, mutatingWebhookAnnotations: {a: b}, mutatingWebhookNamespaceSelector: {matchLabels: {team: x}}}",
			[]string{"failurePolicy: Ignore", "timeoutSeconds: 3", "name: no-system", `admissions.enforcer/disabled: "true"`, "a: b", "team: x"}, nil},
		{"proxy", "proxy: {image: {repository: p, release: v2}, mode: env, httpsProxy: 'http://p:3128', noProxy: 10.0.0.0/8, caConfigMap: ca}",
			[]string{"PROXY_IMAGE: registry.example/p:v2", "- --proxy-mode=env", "- --proxy-https-proxy=http://p:3128", "- --proxy-no-proxy=10.0.0.0/8", "- --proxy-ca-configmap=ca"}, nil},
		{"custom token endpoint", "customTokenEndpoint: {annotationSuffix: identity-binding, audience: api://AKSIdentityBinding, azureKubernetesTokenProxy: 'https://p', azureKubernetesSniName: sni, azureKubernetesCACTBSignerName: s, azureKubernetesCACTBLabelSelector: '{\"matchLabels\":{\"a\":\"b\"}}'}",
			[]string{"- --custom-token-endpoint-annotation-suffix=identity-binding", "- --custom-token-endpoint-audience=api://AKSIdentityBinding", "AZURE_KUBERNETES_TOKEN_PROXY: https://p", `AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR: '{"matchLabels":{"a":"b"}}'`}, nil},
		{"provided certificate", "certificates: {mode: provided, secretName: mine, caBundle: \"-----BEGIN CERTIFICATE-----\\n\"}",
			[]string{"secretName: mine", "caBundle: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==", "- --disable-cert-rotation"}, []string{"kind: Secret", "kind: Role\n"}},
		{"cert-manager", "certificates: {mode: cert-manager}",
			[]string{"kind: Issuer", "selfSigned: {}", "cert-manager.io/inject-ca-from: azwi/azure-wi-webhook", "- azure-wi-webhook-webhook-service.azwi.svc\n", "- --disable-cert-rotation"}, []string{"kind: Role\n"}},
		{"cert-manager, own issuer", "certificates: {mode: cert-manager, issuerRef: {kind: ClusterIssuer, name: corp}}", []string{"name: corp"}, []string{"kind: Issuer\nmetadata"}},
		{"elsewhere", "{externalURL: 'https://webhook.example/mutate-v1-pod', certificates: {mode: provided, caBundle: '-----BEGIN CERTIFICATE-----'}}",
			[]string{"url: https://webhook.example/mutate-v1-pod"}, []string{"kind: Deployment", "kind: Service\n", "kind: ConfigMap"}},
		{"elsewhere, without a path", "{externalURL: 'https://webhook.example:8443', certificates: {mode: provided, caBundle: '-----BEGIN CERTIFICATE-----'}}",
			[]string{"url: https://webhook.example:8443/mutate-v1-pod"}, nil},
		{"elsewhere, with a slash", "{externalURL: 'https://webhook.example/', certificates: {mode: provided, caBundle: '-----BEGIN CERTIFICATE-----'}}",
			[]string{"url: https://webhook.example/mutate-v1-pod"}, nil},
		{"network", "{networkPolicy: {enabled: true, metricsFrom: [{namespaceSelector: {matchLabels: {name: monitoring}}}]}, imdsNetworkPolicy: {namespaces: [azwi]}, hostNetwork: true, service: {port: 8443, targetPort: 10250}}",
			[]string{"name: azure-wi-webhook\n", "name: azure-wi-no-node-identity", "169.254.169.254/32", "hostNetwork: true", "dnsPolicy: ClusterFirstWithHostNet", "port: 8443", "containerPort: 10250", "- --addr=:10250", "maxSurge: 0"}, nil},
		{"network, from the API servers", "{networkPolicy: {enabled: true, apiServerFrom: [{ipBlock: {cidr: 10.1.0.0/28}}]}}",
			[]string{"  ingress:\n    - from:\n        - ipBlock:\n            cidr: 10.1.0.0/28\n      ports:\n        - port: 9443\n    - ports:\n        - port: 9440\n"}, nil},
		{"client certificates", "{clientCA: {configMapName: front, key: client-ca.pem}, clientNames: [kube-apiserver, front-proxy-client]}",
			[]string{"- --client-ca-file=/client-ca/client-ca.pem\n", "- --client-names=kube-apiserver,front-proxy-client\n", "mountPath: /client-ca\n", "- configMap:\n            name: front\n"}, nil},
		{"client certificates of a Secret's CA", "clientCA: {secretName: front}",
			[]string{"- --client-ca-file=/client-ca/ca.crt\n", "secretName: front\n"}, []string{"--client-names"}},
		{"monitoring", "{serviceMonitor: {enabled: true, labels: {release: prometheus}}, podMonitor: {enabled: true}, prometheusRule: {enabled: true}, dashboard: {enabled: true}}",
			[]string{"kind: ServiceMonitor", "kind: PodMonitor", "kind: PrometheusRule", "alert: AzwiAdmissionsFail", `grafana_dashboard: "1"`, "clusterIP: None"}, nil},
		{"placement", "{topologySpreadConstraints: [{maxSkew: 2, topologyKey: rack, whenUnsatisfiable: DoNotSchedule, labelSelector: {}}], tolerations: [{operator: Exists}], affinity: {nodeAffinity: {}}, nodeSelector: {pool: system}, priorityClassName: '', revisionHistoryLimit: 0}",
			[]string{"topologyKey: rack", "operator: Exists", "pool: system", "revisionHistoryLimit: 0"}, []string{"kubernetes.io/hostname", "priorityClassName"}},
		{"policies", "{engine: policy, audience: '\"x\"'}", []string{"kind: MutatingAdmissionPolicyBinding", `\"x\"`}, []string{"kind: Deployment", "kind: Secret"}},
		{"a user of the platform's choice", "runAsUser: ''", []string{"runAsNonRoot: true"}, []string{"runAsUser", "runAsGroup"}},
		{"another user", "runAsUser: '1000680000'", []string{"runAsUser: 1000680000\n", "runAsGroup: 1000680000\n"}, []string{"65532"}},
		{"no password", "{proxy: {httpsProxy: 'http://user@[::1]:3128'}, extraEnv: [{name: NO_PROXY, value: '.local:80,me@x'}, {name: HTTPS_PROXY, valueFrom: {secretKeyRef: {name: egress, key: url}}}]}", []string{"- --proxy-https-proxy=http://user@[::1]:3128", "name: egress"}, nil},
		{"no spread", "spread: false", []string{"topologySpreadConstraints: []"}, []string{"topologyKey"}},
		{"extras", "{extraEnv: [{name: A, value: b}], extraVolumes: [{name: v, emptyDir: {}}], extraVolumeMounts: [{name: v, mountPath: /v}], podAnnotations: {c: d}, extraLabels: {cost-centre: '7', app: mine}, podLabels: {app.kubernetes.io/name: theirs, release: other}}",
			[]string{"name: A", "mountPath: /v", "c: d", `cost-centre: "7"`, "app.kubernetes.io/name: theirs"}, []string{"app: mine", "release: other"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			objects, notes, err := render(t, parse(t, tt.values))
			if err != nil {
				t.Fatal(err)
			}
			text, err := install.YAML(objects)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.has {
				if !strings.Contains(string(text), want) {
					t.Errorf("not in the objects: %q", want)
				}
			}
			for _, not := range tt.hasNot {
				if strings.Contains(string(text), not) {
					t.Errorf("in the objects: %q", not)
				}
			}
			if t.Failed() {
				t.Logf("%s\n%s", text, notes)
			}
			for _, o := range objects {
				dryRun(t, o)
			}
		})
	}
}

// dryRun has the API server look at an object, but for those that need a CRD.
func dryRun(t *testing.T, o install.Object) {
	t.Helper()
	ref := o.Ref()
	if strings.HasPrefix(ref.APIVersion, "cert-manager.io/") || strings.HasPrefix(ref.APIVersion, "monitoring.coreos.com/") {
		return
	}
	path, err := ref.Path()
	if err != nil {
		t.Fatal(err)
	}
	query := url.Values{"dryRun": {"All"}, "fieldValidation": {"Strict"}}
	if warnings, err := control.Start(t).Admin.Do(t.Context(), "POST", path[:strings.LastIndex(path, "/")]+"?"+query.Encode(), object(o), nil); err != nil || len(warnings) > 0 {
		t.Errorf("%s: %v, warnings %q", ref, err, warnings)
	}
}

// TestPodSecurity: a namespace that enforces restricted takes the webhook's pods.
func TestPodSecurity(t *testing.T) {
	c := control.Start(t)
	namespace, err := c.NewNamespace(t.Context(), "restricted")
	if err != nil {
		t.Fatal(err)
	}
	labels := object{"metadata": object{"labels": object{"pod-security.kubernetes.io/enforce": "restricted"}}}
	if _, err := c.Admin.Do(t.Context(), "PATCH", "/api/v1/namespaces/"+namespace, labels, nil); err != nil {
		t.Fatal(err)
	}
	objects, _, err := render(t, parse(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	pods := 0
	for _, o := range objects {
		if o.Kind() != "Deployment" {
			continue
		}
		pods++
		template := o["spec"].(object)["template"].(object)
		template["metadata"].(object)["name"] = "webhook"
		spec := template["spec"].(object)
		spec["serviceAccountName"] = "default"
		spec["priorityClassName"] = "" // there is no quota here that allows it
		if _, err := c.Admin.Do(t.Context(), "POST", "/api/v1/namespaces/"+namespace+"/pods", template, nil); err != nil {
			t.Error(err)
		}
	}
	if pods != 1 {
		t.Errorf("%d Deployments", pods)
	}
}

// TestRights asks the API server for all that each of the chart's accounts may do
// beyond what everybody may: what it needs, and nothing else.
func TestRights(t *testing.T) {
	accounts := []string{"get serviceaccounts "}
	var configuration, secret []string // of a certificate of its own
	for _, verb := range []string{"get", "watch", "patch"} {
		configuration = append(configuration, verb+" mutatingwebhookconfigurations azure-wi-webhook-mutating-webhook-configuration")
		secret = append(secret, verb+" secrets azure-wi-webhook-server-cert")
	}
	for _, test := range []struct {
		name, values string
		here, others []string // in the release's namespace, and elsewhere
	}{
		{"own certificate", "", slices.Concat(accounts, configuration, secret), slices.Concat(accounts, configuration)},
		{"provided certificate", "certificates: {mode: provided}", accounts, accounts},
	} {
		t.Run(test.name, func(t *testing.T) {
			values := parse(t, test.values)
			h := newHelm(t)
			h.install(t, chartDir, true, values)
			objects, _, err := render(t, values)
			if err != nil {
				t.Fatal(err)
			}
			found := 0
			for _, o := range objects {
				if o.Kind() != "ServiceAccount" {
					continue
				}
				found++
				account := o["metadata"].(object)["name"].(string)
				for namespace, want := range map[string][]string{h.namespace: test.here, "default": test.others, "kube-system": test.others} {
					everybody := h.rights(t, "default", namespace)
					got := slices.DeleteFunc(h.rights(t, account, namespace), func(r string) bool { return slices.Contains(everybody, r) })
					slices.Sort(got)
					if diff := cmp.Diff(slices.Sorted(slices.Values(want)), slices.Compact(got)); diff != "" {
						t.Errorf("%s in %s, -want +got:\n%s", account, namespace, diff)
					}
				}
			}
			if found != 1 {
				t.Errorf("%d accounts, but this test knows the needs of one", found)
			}
		})
	}
	objects, _, err := render(t, parse(t, "engine: policy"))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		switch o.Kind() {
		case "ServiceAccount", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding":
			t.Errorf("the policies need no account, but there is a %s", o.Kind())
		}
	}
}

// rights are those of a service account in a namespace: verb, resource, name.
func (h *helm) rights(t *testing.T, account, namespace string) []string {
	t.Helper()
	var token struct{ Status struct{ Token string } }
	if _, err := h.cluster.Admin.Do(t.Context(), "POST", "/api/v1/namespaces/"+h.namespace+"/serviceaccounts/"+account+"/token", object{}, &token); err != nil {
		t.Fatal(err)
	}
	client := *h.cluster.Anonymous()
	client.Token = token.Status.Token
	var review struct {
		Status struct {
			ResourceRules    []struct{ Verbs, Resources, ResourceNames []string }
			NonResourceRules []struct{ Verbs, NonResourceURLs []string }
			Incomplete       bool
		}
	}
	body := object{"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": object{"namespace": namespace}}
	if _, err := client.Do(t.Context(), "POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", body, &review); err != nil {
		t.Fatal(err)
	}
	if review.Status.Incomplete {
		t.Error("the API server does not tell all rights")
	}
	var rights []string
	for _, rule := range review.Status.NonResourceRules {
		rights = append(rights, fmt.Sprint(rule.Verbs, rule.NonResourceURLs))
	}
	for _, rule := range review.Status.ResourceRules {
		for _, verb := range rule.Verbs {
			for _, resource := range rule.Resources {
				names := rule.ResourceNames
				if len(names) == 0 {
					names = []string{""}
				}
				for _, name := range names {
					rights = append(rights, fmt.Sprint(verb, " ", resource, " ", name))
				}
			}
		}
	}
	return rights
}

// TestDashboardIsJSON: Grafana can read it.
func TestDashboardIsJSON(t *testing.T) {
	t.Parallel()
	objects, _, err := render(t, parse(t, "dashboard: {enabled: true}"))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if o.Name() != "azure-wi-webhook-dashboard" {
			continue
		}
		if text, _ := o["data"].(object)["azwi-webhook.json"].(string); !json.Valid([]byte(text)) {
			t.Errorf("no JSON: %s", text)
		}
		return
	}
	t.Error("there is no dashboard")
}
