package chart_test

import (
	"encoding/base64"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"azwi/contract"
)

const webhookPath = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/" + contract.WebhookConfiguration

func deploymentPath(namespace string) string {
	return "/apis/apps/v1/namespaces/" + namespace + "/deployments/azure-wi-webhook-controller-manager"
}

func secretPath(namespace string) string {
	return "/api/v1/namespaces/" + namespace + "/secrets/" + contract.WebhookSecret
}

type deployment struct {
	Metadata struct{ UID string }
	Spec     struct {
		Selector struct{ MatchLabels map[string]string }
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     struct {
				Containers []struct {
					Image         string
					Command, Args []string
					Resources     struct{ Limits, Requests map[string]string }
				}
			}
		}
	}
}

type configuration struct {
	Metadata struct {
		UID         string
		Annotations map[string]string
	}
	Webhooks []struct {
		ClientConfig  struct{ CABundle string }
		FailurePolicy string
	}
}

// TestUpgradeFromUpstream: a release of upstream's goes on as ours, with the same
// Deployment and certificate, and back.
func TestUpgradeFromUpstream(t *testing.T) {
	for _, serverSide := range []bool{false, true} { // as Helm 3 and as Helm 4 installed it
		for _, reuse := range []bool{false, true} {
			t.Run(fmt.Sprintf("server side %t, reuse values %t", serverSide, reuse), func(t *testing.T) {
				testUpgrade(t, serverSide, reuse)
			})
		}
	}
}

func testUpgrade(t *testing.T, serverSide, reuse bool) {
	h := newHelm(t)
	values := object{"azureTenantID": "11111111-1111-1111-1111-111111111111", "podLabels": object{"team": "platform"}}
	h.install(t, upstreamDir, serverSide, maps.Clone(values))
	// What upstream's webhook does once it runs.
	certificate := object{"data": object{"tls.crt": "Y3J0", "tls.key": "a2V5", "ca.crt": "Y2E=", "ca.key": "a2V5"}}
	if _, err := h.cluster.Admin.Do(t.Context(), "PATCH", secretPath(h.namespace), certificate, nil); err != nil {
		t.Fatal(err)
	}
	bundle := base64.StdEncoding.EncodeToString(h.cluster.CA.PEM)
	if _, err := h.cluster.Admin.Do(t.Context(), "PATCH", webhookPath, []object{{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": bundle}}, nil); err != nil {
		t.Fatal(err)
	}
	before := get[deployment](t.Context(), t, h.cluster, deploymentPath(h.namespace))
	kept := func(when string) deployment {
		t.Helper()
		if got := get[object](t.Context(), t, h.cluster, secretPath(h.namespace)); !cmp.Equal(got["data"], certificate["data"]) {
			t.Errorf("%s: the certificate is %v", when, got["data"])
		}
		if got := get[configuration](t.Context(), t, h.cluster, webhookPath); got.Webhooks[0].ClientConfig.CABundle != bundle || got.Webhooks[0].FailurePolicy != "Fail" {
			t.Errorf("%s: the webhook is %+v", when, got)
		}
		got := get[deployment](t.Context(), t, h.cluster, deploymentPath(h.namespace))
		if got.Metadata.UID != before.Metadata.UID {
			t.Errorf("%s: the Deployment was made anew", when)
		}
		if diff := cmp.Diff(before.Spec.Selector, got.Spec.Selector); diff != "" {
			t.Errorf("%s: selector -before +after:\n%s", when, diff)
		}
		if len(got.Spec.Template.Spec.Containers) != 1 {
			t.Fatalf("%s: containers %+v", when, got.Spec.Template.Spec.Containers)
		}
		return got
	}

	// What the chart can't know, and upstream's release doesn't say.
	upgraded := object{"global": object{"imageRegistry": registry}}
	if !reuse {
		maps.Copy(upgraded, values)
	}
	release := h.upgrade(t, reuse, upgraded)
	ours := kept("upgraded")
	manager := ours.Spec.Template.Spec.Containers[0]
	if !strings.HasPrefix(manager.Image, "registry.example/azwi/webhook:") || manager.Command[0] != "/azwi-webhook" || strings.Contains(strings.Join(manager.Args, " "), "%!") {
		t.Errorf("the upgraded container is %+v", manager)
	}
	if manager.Resources.Limits["memory"] != "64Mi" || manager.Resources.Limits["cpu"] != "" {
		t.Errorf("resources %+v", manager.Resources)
	}
	if got := ours.Spec.Template.Metadata.Labels["team"]; got != "platform" {
		t.Errorf("label team of the pods is %q", got)
	}
	told := strings.Contains(release.Info.Notes, "mcr.microsoft.com/oss/azure/workload-identity/webhook:v1.6.0") && strings.Contains(release.Info.Notes, "30Mi")
	if told != reuse {
		t.Errorf("reused values: %t; the notes are:\n%s", reuse, release.Info.Notes)
	}

	h.rollback(t, 1)
	if got := kept("rolled back").Spec.Template.Spec.Containers[0]; got.Image != before.Spec.Template.Spec.Containers[0].Image || got.Command[0] != "/manager" {
		t.Errorf("rolled back to %+v", got)
	}
	h.rollback(t, 2)
	if got := kept("rolled forward").Spec.Template.Spec.Containers[0].Image; got != manager.Image {
		t.Errorf("rolled forward to %s", got)
	}
}
