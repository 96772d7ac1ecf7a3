package policy_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"azwi/internal/finding"
	"azwi/internal/pod/inject"
	"azwi/internal/pod/inject/injecttest"
	"azwi/internal/pod/policy"
	"azwi/test/cluster"
	"azwi/test/handlers"
)

// TestGoldens creates the pod of every golden case of package inject on the real
// API server, once through the webhook and once through the policies. The pods must
// be equal, field by field, and so must the texts of denials and warnings. CEL
// forces these differences, none of which is in a pod:
//
//   - The API server puts the policy's name before the text of a denial or warning,
//     and a denial has the status 422 (refused) or 403 (not injected) instead of 400.
//   - Warnings about the account alone come when the account is written.
func TestGoldens(t *testing.T) {
	t.Parallel()
	c := control.Start(t)
	cases, err := injecttest.Cases("../../internal/pod/inject/testdata")
	if err != nil {
		t.Fatal(err)
	}
	webhooks := handlers.Serve(t, c)
	for _, g := range cases {
		t.Run(g.Name, func(t *testing.T) {
			t.Parallel()
			account := g.Account
			account.Namespace = newNamespace(t, c)
			handlers.CreateAccount(t, c, account)
			webhooks.Register(t, account.Namespace, g.Settings)
			byWebhook := create(t, c, account.Namespace, g.Pod)

			account.Namespace = newNamespace(t, c)
			install(t, c, account.Namespace, policy.Config{Settings: g.Settings})
			aboutAccount := handlers.CreateAccount(t, c, account)
			waitVisible(t, c, account)
			byPolicy := create(t, c, account.Namespace, g.Pod)

			if diff := cmp.Diff(byWebhook.pod, byPolicy.pod); diff != "" {
				t.Errorf("pods differ, -webhook +policy:\n%s", diff)
			}
			offline := handlers.Parse(t, g.Pod).Inject(account, g.Settings)
			if offline.Denial != nil {
				if byPolicy.code != http.StatusUnprocessableEntity || !strings.HasSuffix(byPolicy.message, ": "+offline.Denial.Text()) {
					t.Errorf("denial by policy: %d %q, want %q", byPolicy.code, byPolicy.message, offline.Denial.Text())
				}
				return
			}
			if byWebhook.pod == nil || byWebhook.message != "" {
				t.Fatalf("denied by webhook: %s", byWebhook.message)
			}
			if byPolicy.message != "" {
				t.Errorf("denied by policy: %s", byPolicy.message)
			}
			ofAccount, ofPod := split(t, offline.Warnings, account, g.Settings)
			compareWarnings(t, "account", aboutAccount, ofAccount)
			compareWarnings(t, "pod", byPolicy.warnings, ofPod)
		})
	}
}

// waitVisible waits until admission sees the account.
func waitVisible(t *testing.T, c *cluster.Cluster, account inject.Account) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		_, err := createPod(ctx, c, account.Namespace, account.Name)
		status, ok := errors.AsType[*cluster.StatusError](err)
		if err == nil || ok && status.Code != http.StatusForbidden {
			return
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

// split tells the warnings about the account, which any pod of it gets, from those
// about the pod.
func split(t *testing.T, all []finding.Finding, account inject.Account, settings inject.Settings) (ofAccount, ofPod []finding.Finding) {
	t.Helper()
	pod := handlers.Parse(t, []byte(`{"metadata":{"labels":{"azure.workload.identity/use":"true"}},"spec":{"containers":[{"name":"app","env":[{"name":"AZURE_CLIENT_ID","value":"22222222-2222-2222-2222-222222222222"}]}]}}`))
	about := pod.Inject(account, settings).Warnings
	for _, w := range all {
		if slices.Contains(about, w) {
			ofAccount = append(ofAccount, w)
		} else {
			ofPod = append(ofPod, w)
		}
	}
	return ofAccount, ofPod
}

func compareWarnings(t *testing.T, what string, got []string, want []finding.Finding) {
	t.Helper()
	got = slices.DeleteFunc(got, func(w string) bool { return strings.HasPrefix(w, "spec.") }) // the API server's own
	if len(got) != len(want) {
		t.Fatalf("%d warnings about the %s by policy, want %d: %q", len(got), what, len(want), got)
	}
	for i, w := range want {
		if !strings.HasSuffix(got[i], ": "+w.Text()) {
			t.Errorf("warning %q, want %q", got[i], w.Text())
		}
	}
}

// outcome is what came of a pod.
type outcome struct {
	pod      any // as created, without what is another at each creation
	warnings []string
	code     int // of the denial
	message  string
}

func create(t *testing.T, c *cluster.Cluster, namespace string, pod []byte) outcome {
	t.Helper()
	var created json.RawMessage
	warnings, err := c.Admin.Do(t.Context(), "POST", "/api/v1/namespaces/"+namespace+"/pods?fieldValidation=Ignore", pod, &created)
	if err != nil {
		status, ok := errors.AsType[*cluster.StatusError](err)
		if !ok {
			t.Fatal(err)
		}
		return outcome{code: status.Code, message: status.Message, warnings: warnings}
	}
	return outcome{pod: comparable(t, created, namespace), warnings: warnings}
}

// comparable drops what differs between two creations of the same pod, and the
// random part of the API token's volume.
func comparable(t *testing.T, raw []byte, namespace string) any {
	t.Helper()
	var pod struct {
		Metadata map[string]any `json:"metadata"`
		Spec     map[string]any `json:"spec"`
		Status   map[string]any `json:"status"`
	}
	if err := json.Unmarshal(raw, &pod); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"uid", "creationTimestamp", "resourceVersion", "namespace", "managedFields"} {
		delete(pod.Metadata, key)
	}
	text, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	const volume = "kube-api-access-"
	if _, after, ok := strings.Cut(string(text), volume); ok {
		text = []byte(strings.ReplaceAll(string(text), volume+after[:5], volume+"*"))
	}
	var out any
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(text), namespace, "shop")), &out); err != nil {
		t.Fatal(err)
	}
	return out
}
