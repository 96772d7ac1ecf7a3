package chart_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/install"
	"azwi/internal/kube"
	"azwi/test/cluster"
)

func client(t *testing.T, c *cluster.Cluster) *kube.Client {
	t.Helper()
	connected, err := kube.Connect(kube.Config{Kubeconfig: c.Kubeconfig})
	if err != nil {
		t.Fatal(err)
	}
	return connected
}

// TestTakeOver: azwi leaves a release of Helm's alone, or on demand becomes its
// keeper, with the same Deployment and certificate and without what only upstream's
// had.
func TestTakeOver(t *testing.T) {
	for _, serverSide := range []bool{false, true} {
		t.Run(fmt.Sprintf("server side %t", serverSide), func(t *testing.T) { testTakeOver(t, serverSide) })
	}
}

func testTakeOver(t *testing.T, serverSide bool) {
	h := newHelm(t)
	h.installForGood(t, upstreamDir, serverSide, object{"azureTenantID": tenant, "nameOverride": "wi-webhook"})
	certificate := object{"data": object{"tls.crt": "Y3J0", "tls.key": "a2V5", "ca.crt": "Y2E=", "ca.key": "a2V5"}}
	if _, err := h.cluster.Admin.Do(t.Context(), "PATCH", secretPath(h.namespace), certificate, nil); err != nil {
		t.Fatal(err)
	}
	bundle := []object{{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": h.cluster.CA.PEM}}
	if _, err := h.cluster.Admin.Do(t.Context(), "PATCH", webhookPath, bundle, nil); err != nil {
		t.Fatal(err)
	}
	before := get[deployment](t.Context(), t, h.cluster, deploymentPath(h.namespace))
	config := install.Config{Client: client(t, h.cluster), Version: "v1", Values: parse(t, ""), NoWait: true}
	_, err := install.Install(t.Context(), config, false)
	if !errors.Is(err, finding.CodeInstalled) || !strings.Contains(err.Error(), "Helm's release wi in namespace "+h.namespace) || !strings.Contains(err.Error(), "--take-over") {
		t.Fatalf("not refused well: %v", err)
	}
	if err := uninstall(t, config.Client, func(string) {}); !errors.Is(err, finding.CodeNotInstalled) || !strings.Contains(err.Error(), "helm uninstall wi -n "+h.namespace) {
		t.Fatalf("uninstall: not refused well: %v", err)
	}

	config.TakeOver = true
	if _, err := install.Install(t.Context(), config, false); err != nil {
		t.Fatal(err)
	}
	after := get[deployment](t.Context(), t, h.cluster, deploymentPath(h.namespace))
	if after.Metadata.UID != before.Metadata.UID || !cmp.Equal(after.Spec.Selector, before.Spec.Selector) || after.Spec.Selector.MatchLabels["app"] != "wi-webhook" {
		t.Errorf("another Deployment: %+v", after)
	}
	raw := get[object](t.Context(), t, h.cluster, deploymentPath(h.namespace))
	pod := raw["spec"].(object)["template"].(object)["spec"].(object)
	if _, there := pod["volumes"]; there || strings.Contains(fmt.Sprint(pod), "initialDelaySeconds") {
		t.Errorf("what only upstream's had is still there: %v", pod)
	}
	if got := after.Spec.Template.Spec.Containers[0]; got.Image != "registry.example/azwi/webhook:v1" || got.Resources.Limits["cpu"] != "" {
		t.Errorf("the container is %+v", got)
	}
	if got := get[object](t.Context(), t, h.cluster, secretPath(h.namespace)); !cmp.Equal(got["data"], certificate["data"]) {
		t.Errorf("the certificate is %v", got["data"])
	}
	registered := get[configuration](t.Context(), t, h.cluster, webhookPath)
	if registered.Webhooks[0].ClientConfig.CABundle == "" || len(registered.Metadata.Annotations) > 0 {
		t.Errorf("the registration is %+v", registered)
	}
	var secrets struct{ Items []object }
	if _, err := h.cluster.Admin.Do(t.Context(), "GET", "/api/v1/namespaces/"+h.namespace+"/secrets?labelSelector=owner%3Dhelm", nil, &secrets); err != nil || len(secrets.Items) > 0 {
		t.Errorf("Helm's record: %d secrets, %v", len(secrets.Items), err)
	}

	var removed []string
	if err := uninstall(t, config.Client, func(line string) { removed = append(removed, line) }); err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(removed, "\n"); strings.Contains(all, "removed Namespace") || !strings.Contains(all, "removed Secret") {
		t.Errorf("uninstall removed:\n%s", all)
	}
}

// TestAddOn: what AKS keeps is left alone, whatever is asked.
func TestAddOn(t *testing.T) {
	c := control.Start(t)
	addOn := object{
		"metadata": object{"name": contract.WebhookConfiguration, "labels": object{"kubernetes.azure.com/managedby": "aks"}},
		"webhooks": []object{{
			"name": contract.WebhookName, "admissionReviewVersions": []string{"v1"}, "sideEffects": "None",
			"objectSelector": object{"matchLabels": object{"there-is": "none"}},
			"clientConfig":   object{"service": object{"name": "x", "namespace": "kube-system"}},
		}},
	}
	path := strings.TrimSuffix(webhookPath, "/"+contract.WebhookConfiguration)
	if _, err := c.Admin.Do(t.Context(), "POST", path, addOn, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := c.Admin.Do(context.WithoutCancel(t.Context()), "DELETE", webhookPath, nil, nil); err != nil {
			t.Error(err)
		}
	})
	config := install.Config{Client: client(t, c), Version: "v1", Values: parse(t, ""), TakeOver: true}
	for _, upgrade := range []bool{false, true} {
		if _, err := install.Install(t.Context(), config, upgrade); !errors.Is(err, finding.CodeInstalled) || !strings.Contains(err.Error(), "az aks update --disable-workload-identity") {
			t.Errorf("not refused well: %v", err)
		}
	}
	if err := uninstall(t, config.Client, func(string) {}); !errors.Is(err, finding.CodeNotInstalled) {
		t.Errorf("uninstall: not refused well: %v", err)
	}
}

// TestTakeOverManifest: what somebody applied from upstream's manifest goes on as ours,
// and back, with the same Deployment and certificate. All the while the Service selects
// the former pods and the new ones, and the former ones keep their rights.
func TestTakeOverManifest(t *testing.T) {
	upstream, err := os.ReadFile("../../internal/install/testdata/upstream.yaml")
	if err != nil {
		t.Fatal(err)
	}
	deploy, err := os.ReadFile("../../deploy/azure-wi-webhook.yaml")
	if err != nil {
		t.Fatal(err)
	}
	ours := envsubst(string(deploy), "")
	azwi := func(t *testing.T, m *manifests) {
		t.Helper()
		config := install.Config{Client: client(t, m.cluster), Version: "v1", Values: parse(t, ""), TakeOver: true}
		// No pod gets ready here.
		config.Timeout = time.Second
		before := m.all(t)
		if _, err := install.Install(t.Context(), config, false); !errors.Is(err, finding.CodeTimedOut) || !strings.Contains(err.Error(), "as it was before") {
			t.Fatalf("a take-over by pods that never get ready: %v", err)
		}
		if diff := cmp.Diff(before, m.all(t)); diff != "" {
			t.Errorf("a take-over that failed left -before +after:\n%s", diff)
		}
		config.NoWait = true
		if _, err := install.Install(t.Context(), config, false); err != nil {
			t.Fatal(err)
		}
	}
	apply := func(text string, flags ...string) func(*testing.T, *manifests) {
		return func(t *testing.T, m *manifests) {
			t.Helper()
			m.kubectl(t, text, append(append([]string{"apply"}, flags...), "-f", "-")...)
		}
	}
	for _, tt := range []struct {
		name         string
		there        []string // how upstream's manifest got there
		here, back   func(*testing.T, *manifests)
		keepsVolumes bool // as kubectl can't know whose they are
	}{
		{name: "client-side apply", there: []string{"apply"}, here: apply(ours), back: apply(string(upstream))},
		{name: "server-side apply over client-side apply", there: []string{"apply"}, here: apply(ours, "--server-side"), back: apply(string(upstream), "--server-side")},
		{name: "server-side apply", there: []string{"apply", "--server-side"}, here: apply(ours, "--server-side"), back: apply(string(upstream), "--server-side")},
		{name: "client-side apply over create", there: []string{"create", "--save-config=false"}, here: apply(ours), back: apply(string(upstream)), keepsVolumes: true},
		{name: "azwi install --take-over", there: []string{"apply"}, here: azwi},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &manifests{cluster: control.Start(t), text: ours + "\n---\n" + string(upstream)}
			if err := m.cluster.CreateNamespace(t.Context(), install.DefaultNamespace); err != nil && !isConflict(err) {
				t.Fatal(err)
			}
			m.kubectl(t, withoutNamespace(string(upstream)), append(tt.there, "-f", "-")...)
			t.Cleanup(func() { m.remove(t) })
			certificate := object{"data": object{"tls.crt": "Y3J0", "tls.key": "a2V5", "ca.crt": "Y2E=", "ca.key": "a2V5"}}
			bundle := []object{{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": m.cluster.CA.PEM}}
			for path, patch := range map[string]any{secretPath(install.DefaultNamespace): certificate, webhookPath: bundle} {
				if _, err := m.cluster.Admin.Do(t.Context(), "PATCH", path, patch, nil); err != nil {
					t.Fatal(err)
				}
			}
			before := m.read(t)
			check := func(when string) manifestState {
				t.Helper()
				after := m.read(t)
				// kubectl and azwi write these once each, so there are no other states between.
				for _, service := range []map[string]string{before.service.Spec.Selector, after.service.Spec.Selector} {
					for _, pods := range []map[string]string{before.deployment.Spec.Template.Metadata.Labels, after.deployment.Spec.Template.Metadata.Labels} {
						for key, value := range service {
							if pods[key] != value {
								t.Errorf("%s: the Service selects %v, pods have %v", when, service, pods)
							}
						}
					}
				}
				if after.deployment.Metadata.UID != before.deployment.Metadata.UID || !cmp.Equal(after.deployment.Spec.Selector, before.deployment.Spec.Selector) {
					t.Errorf("%s: another Deployment: %+v", when, after.deployment)
				}
				for _, rule := range before.role.Rules {
					if !slices.ContainsFunc(after.role.Rules, func(r any) bool { return cmp.Equal(r, rule) }) {
						t.Errorf("%s: the former pods have lost the right %v", when, rule)
					}
				}
				if got := get[object](t.Context(), t, m.cluster, secretPath(install.DefaultNamespace)); !cmp.Equal(got["data"], certificate["data"]) {
					t.Errorf("%s: the certificate is %v", when, got["data"])
				}
				if registered := get[configuration](t.Context(), t, m.cluster, webhookPath); registered.Webhooks[0].ClientConfig.CABundle == "" {
					t.Errorf("%s: the registration has no CA", when)
				}
				return after
			}
			tt.here(t, m)
			after := check("taken over")
			if image := after.deployment.Spec.Template.Spec.Containers[0].Image; !strings.HasPrefix(image, registry+"/azwi/webhook:") {
				t.Errorf("the image is %s", image)
			}
			pod := get[object](t.Context(), t, m.cluster, deploymentPath(install.DefaultNamespace))["spec"].(object)["template"].(object)["spec"].(object)
			if _, there := pod["volumes"]; there != tt.keepsVolumes {
				t.Errorf("the volumes are %v", pod["volumes"])
			}
			if tt.back == nil {
				return
			}
			tt.back(t, m)
			if got := check("back").deployment.Spec.Template.Spec.Containers[0]; !cmp.Equal(got, before.deployment.Spec.Template.Spec.Containers[0]) {
				t.Errorf("back to %+v", got)
			}
		})
	}
}

// manifests are objects that kubectl applies.
type manifests struct {
	cluster *cluster.Cluster
	text    string // all of them
}

func (m *manifests) kubectl(t *testing.T, stdin string, args ...string) {
	t.Helper()
	command := exec.CommandContext(context.WithoutCancel(t.Context()), m.cluster.Binary, append([]string{"kubectl", "--kubeconfig", m.cluster.Kubeconfig}, args...)...)
	command.Stdin = strings.NewReader(stdin)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (m *manifests) remove(t *testing.T) {
	t.Helper()
	m.kubectl(t, withoutNamespace(m.text), "delete", "--ignore-not-found", "--wait=false", "-f", "-")
	m.kubectl(t, "", "delete", "--ignore-not-found", "configmap/azwi-installation", "serviceaccount/azwi-probe", "-n", install.DefaultNamespace)
}

// all are the objects as they are now, but for what counts changes.
func (m *manifests) all(t *testing.T) map[string]object {
	t.Helper()
	all := map[string]object{}
	for _, o := range decode(t, m.text) {
		path, err := o.Ref().Path()
		if err != nil {
			t.Fatal(err)
		}
		var have object
		if _, err := m.cluster.Admin.Do(t.Context(), "GET", path, nil, &have); err != nil {
			continue // not there
		}
		metadata := have["metadata"].(object)
		delete(metadata, "resourceVersion")
		delete(metadata, "generation")
		all[path] = have
	}
	return all
}

type manifestState struct {
	service struct {
		Spec struct{ Selector map[string]string }
	}
	deployment deployment
	role       struct{ Rules []any }
}

func (m *manifests) read(t *testing.T) (s manifestState) {
	t.Helper()
	for path, to := range map[string]any{
		"/api/v1/namespaces/" + install.DefaultNamespace + "/services/azure-wi-webhook-webhook-service": &s.service,
		deploymentPath(install.DefaultNamespace):                                                        &s.deployment,
		"/apis/rbac.authorization.k8s.io/v1/clusterroles/azure-wi-webhook-manager-role":                 &s.role,
	} {
		if _, err := m.cluster.Admin.Do(t.Context(), "GET", path, nil, to); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// withoutNamespace leaves the namespace out, which no controller here would remove.
func withoutNamespace(text string) string {
	documents := slices.DeleteFunc(strings.Split(text, "\n---\n"), func(d string) bool { return strings.Contains(d, "kind: Namespace\n") })
	return strings.Join(documents, "\n---\n")
}

func isConflict(err error) bool {
	var status *cluster.StatusError
	return errors.As(err, &status) && status.Code == http.StatusConflict
}

// uninstall does what azwi uninstall --yes does.
func uninstall(t *testing.T, client *kube.Client, report func(string)) error {
	t.Helper()
	removal, err := install.PlanRemoval(t.Context(), client)
	if err != nil {
		return err
	}
	return removal.Do(t.Context(), report)
}
