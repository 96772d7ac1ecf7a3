// Package doctor_test plants mistakes on a real API server and a local cloud, one at a
// time, and runs azwi doctor on each: it must name exactly that mistake.
package doctor_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"azwi/contract"
	"azwi/emulator"
	"azwi/emulator/emulatortest"
	"azwi/internal/admission/account"
	"azwi/internal/admission/webhook"
	"azwi/internal/pod/inject"
	"azwi/test/cluster"
	"azwi/test/handlers"
	"azwi/test/product"
)

type object = map[string]any

var control cluster.Shared

func TestMain(m *testing.M) { os.Exit(control.Run(m)) }

const (
	clientID    = "aaaaaaaa-0000-4000-8000-000000000001"
	principalID = "aaaaaaaa-0000-4000-8000-000000000002"
	otherID     = "bbbbbbbb-0000-4000-8000-000000000001"
)

// A mistake is a row of testdata/mistakes.yaml. Without any of its changes, the workload
// is healthy. $NAMESPACE, $ISSUER, $CLIENT_ID, $PRINCIPAL_ID and $OTHER_ID may stand in it.
type mistake struct {
	Mistake string `json:"mistake"`
	// Account, Deployment, Identity, Credential and Namespace are JSON merge patches
	// (RFC 7396). Account "absent" creates none.
	Account    any    `json:"account"`
	Deployment object `json:"deployment"`
	Identity   object `json:"identity"`
	Credential any    `json:"credential"`
	Namespace  object `json:"namespace"`
	// Seed adds to the local cloud's seed.
	Seed object `json:"seed"`
	// Objects are created besides.
	Objects []object `json:"objects"`
	// Pod has a pod of the Deployment run: a patch of what its template says.
	Pod object `json:"pod"`
	// PodLater and AccountLater change them when the pod runs.
	PodLater     object `json:"podLater"`
	AccountLater object `json:"accountLater"`
	// Status is that of the pod, DeploymentStatus that of the Deployment.
	Status           object `json:"status"`
	DeploymentStatus object `json:"deploymentStatus"`
	// Subject and Args of the command. Default: deployment/orders, and no more.
	Subject string   `json:"subject"`
	Args    []string `json:"args"`
	// Others is how many credentials of other service accounts the identity has.
	Others int `json:"others"`
	// Faults of the local cloud.
	Faults []object `json:"faults"`
	// First is a command to run before.
	First string `json:"first"`
	// NoRole takes the identity's role away.
	NoRole bool `json:"noRole"`
	// SignedOut: nobody is signed in to Azure.
	SignedOut bool `json:"signedOut"`
	// Want are the codes of all errors, Warn those of all warnings; Says is a part of the
	// output.
	Want []string `json:"want"`
	Warn []string `json:"warn"`
	Says string   `json:"says"`
	// Mends: the command that doctor gives is run, and nothing is wrong afterwards.
	Mends bool `json:"mends"`
	// Exit is the exit code. Default: 2 with errors, else 0.
	Exit int `json:"exit"`
}

// A world is what all rows share.
type world struct {
	c      *cluster.Cluster
	binary string
}

func newWorld(t *testing.T) world {
	t.Helper()
	w := world{c: control.Start(t)}
	var err error
	if w.binary, err = product.Build(t.Context(), t.TempDir(), "azwi", false); err != nil {
		t.Fatal(err)
	}
	handlers.Register(t, w.c, product.Registration{Name: contract.WebhookConfiguration, Excluding: true, Addr: w.webhook(t)})
	return w
}

// webhook serves the webhook's handler until the test ends, and returns its address.
func (w world) webhook(t *testing.T) string {
	t.Helper()
	accounts, err := account.NewReader(account.Config{Client: w.c.Admin.HTTP, Host: w.c.URL})
	if err != nil {
		t.Fatal(err)
	}
	return handlers.ServeTLS(t, w.c, &webhook.Handler{
		Accounts: accounts, Metrics: webhook.NewMetrics(), Logger: slog.New(slog.DiscardHandler),
		Settings: inject.Settings{
			TenantID: emulator.DefaultTenantID, AuthorityHost: "https://login.microsoftonline.com/",
			Proxy: inject.Proxy{Image: "azwi/proxy:v1", NativeSidecar: true},
		},
	})
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	t.Run("mistakes", w.mistakes)
	t.Run("pairs", w.pairs)
	t.Run("rights", w.rights)
	t.Run("audit", w.audit)
	t.Run("elsewhere", w.elsewhere)
	t.Run("bundle", w.bundle)
}

// mistakes plants each row of testdata/mistakes.yaml.
func (w world) mistakes(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("testdata", "mistakes.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for row := range bytes.SplitSeq(text, []byte("\n---\n")) {
		var named mistake
		if err := yaml.UnmarshalStrict(row, &named); err != nil {
			t.Fatalf("%v: %s", err, row)
		}
		t.Run(named.Mistake, func(t *testing.T) {
			t.Parallel()
			namespace, err := w.c.NewNamespace(t.Context(), "doctor")
			if err != nil {
				t.Fatal(err)
			}
			expand := strings.NewReplacer("$NAMESPACE", namespace, "$ISSUER", w.c.Issuer, "$CLIENT_ID", clientID, "$PRINCIPAL_ID", principalID, "$OTHER_ID", otherID)
			var m mistake
			if err := yaml.UnmarshalStrict([]byte(expand.Replace(string(row))), &m); err != nil {
				t.Fatal(err)
			}
			w.plant(t, namespace, m)
			w.check(t, namespace, m)
		})
	}
}

// plant makes the objects of a row.
func (w world) plant(t *testing.T, namespace string, m mistake) {
	t.Helper()
	base := "/api/v1/namespaces/" + namespace
	if m.Namespace != nil {
		w.do(t, "PATCH", base, m.Namespace)
	}
	if m.Account != "absent" {
		change, _ := m.Account.(object)
		w.do(t, "POST", base+"/serviceaccounts", merge(object{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": object{
			"name": "orders", "annotations": object{contract.ClientIDAnnotation: clientID},
		}}, change))
	}
	deployment := merge(object{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": object{"name": "orders"}, "spec": object{
		"selector": object{"matchLabels": object{"app": "orders"}},
		"template": object{
			"metadata": object{"labels": object{"app": "orders", contract.UseLabel: "true"}},
			"spec":     object{"serviceAccountName": "orders", "containers": []any{object{"name": "app", "image": "app:1"}}},
		},
	}}, m.Deployment)
	w.do(t, "POST", "/apis/apps/v1/namespaces/"+namespace+"/deployments", deployment)
	if m.DeploymentStatus != nil {
		w.do(t, "PATCH", "/apis/apps/v1/namespaces/"+namespace+"/deployments/orders/status", object{"status": m.DeploymentStatus})
	}
	for _, o := range m.Objects {
		path, _ := o["path"].(string)
		delete(o, "path")
		w.do(t, "POST", path, o)
	}
	if m.Pod == nil {
		return
	}
	template, _ := deployment["spec"].(object)["template"].(object)
	pod := merge(merge(object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": "orders-1"}}, template), m.Pod)
	w.do(t, "POST", base+"/pods", pod)
	if m.PodLater != nil {
		w.do(t, "PATCH", base+"/pods/orders-1", m.PodLater)
	}
	if m.AccountLater != nil {
		w.do(t, "PATCH", base+"/serviceaccounts/orders", m.AccountLater)
	}
	if m.Status != nil {
		w.do(t, "PATCH", base+"/pods/orders-1/status", object{"status": m.Status})
	}
}

func (w world) do(t *testing.T, method, path string, in any) {
	t.Helper()
	if _, err := w.c.Admin.Do(context.WithoutCancel(t.Context()), method, path, in, nil); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
}

// seed is the local cloud of a row.
func (w world) seed(t *testing.T, namespace string, m mistake) []byte {
	t.Helper()
	credentials := []any{}
	if m.Credential != "absent" {
		change, _ := m.Credential.(object)
		credentials = append(credentials, merge(object{
			"name": "orders", "issuer": w.c.Issuer, "subject": contract.Subject(namespace, "orders"), "audience": contract.DefaultAudience,
		}, change))
	}
	for i := range m.Others {
		credentials = append(credentials, object{
			"name": fmt.Sprintf("other-%d", i), "issuer": w.c.Issuer, "subject": contract.Subject(namespace, fmt.Sprintf("other-%d", i)),
		})
	}
	seed := object{
		"servicePrincipals": []any{object{
			"name": "operator", "appId": emulator.DefaultOperatorID, "secrets": []any{object{"value": emulator.DefaultOperatorSecret}},
			"directoryRoles": []any{"Application Administrator"}, "appRoles": []any{"Application.ReadWrite.All"},
		}},
		"managedIdentities": []any{merge(object{"name": "orders", "clientId": clientID, "principalId": principalID, "federatedCredentials": credentials}, m.Identity)},
		"roleAssignments":   []any{object{"role": "Owner", "principal": "operator"}, object{"role": "Reader", "principal": "orders"}},
		"issuers":           object{w.c.Issuer: object{"url": w.c.Issuer + "/openid/v1/jwks", "caFile": w.c.CAFile}},
		"replication":       object{"minDelay": "0s", "maxDelay": "0s", "missMemory": "0s"},
	}
	if m.NoRole {
		seed["roleAssignments"] = []any{object{"role": "Owner", "principal": "operator"}}
	}
	for key, value := range m.Seed {
		have, _ := seed[key].([]any) // absent is none
		if added, ok := value.([]any); ok {
			value = append(have, added...)
		}
		seed[key] = value
	}
	raw, err := yaml.Marshal(seed)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// A machine is where a person sits who runs azwi.
type machine struct {
	env                []string
	azure              *emulatortest.Server
	namespace, subject string
	args               []string
}

func (w world) machine(t *testing.T, namespace string, m mistake) machine {
	t.Helper()
	config := emulator.Config{Seed: w.seed(t, namespace, m)}
	if m.Faults != nil {
		var err error
		if config.Faults, err = yaml.Marshal(object{"faults": m.Faults}); err != nil {
			t.Fatal(err)
		}
	}
	azure := emulatortest.Start(t, config)
	dir := t.TempDir()
	roots := filepath.Join(dir, "roots.crt")
	if err := os.WriteFile(roots, slices.Concat(azure.CA(), w.c.CA.PEM), 0o600); err != nil {
		t.Fatal(err)
	}
	kubectl := "#!/bin/sh\nexec " + w.c.Binary + " kubectl \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, "kubectl"), []byte(kubectl), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	at := machine{azure: azure, namespace: namespace, subject: cmp.Or(m.Subject, "deployment/orders"), args: m.Args, env: []string{
		"PATH=" + dir + ":" + filepath.Dir(w.binary) + ":/usr/bin:/bin", "KUBECONFIG=" + w.c.Kubeconfig,
		"HTTPS_PROXY=" + azure.ProxyURL, "NO_PROXY=127.0.0.1,localhost", "SSL_CERT_FILE=" + roots, "HOME=" + dir,
		"AZURE_TENANT_ID=" + emulator.DefaultTenantID, "AZURE_SUBSCRIPTION_ID=" + emulator.DefaultSubscriptionID,
	}}
	if !m.SignedOut {
		at.env = append(at.env, "AZURE_CLIENT_ID="+emulator.DefaultOperatorID, "AZURE_CLIENT_SECRET="+emulator.DefaultOperatorSecret)
	}
	return at
}

// A report is what azwi doctor prints.
type report struct {
	Links []struct {
		Link, State string
		Findings    []struct{ Code, Severity, Text, Command string }
	}
}

// run is the command's output and exit code.
func (at machine) run(t *testing.T, name string, args ...string) (stdout []byte, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = at.env
	var errs bytes.Buffer
	cmd.Stderr = &errs
	stdout, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	return stdout, errs.String(), code
}

func (w world) doctor(t *testing.T, at machine) (out []byte, stderr string, code int, r report) {
	t.Helper()
	out, stderr, code = at.run(t, w.binary, append([]string{"doctor", at.subject, "-n", at.namespace, "-o", "json"}, at.args...)...)
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("exit code %d: %s\n%s", code, stderr, out)
	}
	return out, stderr, code, r
}

// check runs azwi doctor, and compares what it finds.
func (w world) check(t *testing.T, namespace string, m mistake) {
	t.Helper()
	at := w.machine(t, namespace, m)
	if m.First != "" {
		if said, stderr, code := at.run(t, "sh", "-c", m.First); code != 0 {
			t.Fatalf("%s: exit code %d: %s%s", m.First, code, said, stderr)
		}
	}
	out, stderr, code, r := w.doctor(t, at)
	found, mend := map[string][]string{}, ""
	for _, l := range r.Links {
		for _, f := range l.Findings {
			found[f.Severity] = append(found[f.Severity], f.Code)
			mend = cmp.Or(mend, f.Command)
		}
	}
	for severity, want := range map[string][]string{"error": m.Want, "warning": m.Warn} {
		if diff := gocmp.Diff(want, found[severity]); diff != "" {
			t.Errorf("%ss (-want +found):\n%s", severity, diff)
		}
	}
	want := m.Exit
	if want == 0 && len(m.Want) > 0 {
		want = 2
	}
	if code != want {
		t.Errorf("exit code %d, want %d: %s", code, want, stderr)
	}
	if !bytes.Contains(out, []byte(m.Says)) && !strings.Contains(stderr, m.Says) {
		t.Errorf("the output does not say %q", m.Says)
	}
	if bytes.Contains(out, []byte("eyJ")) || strings.Contains(stderr, "eyJ") {
		t.Error("a token is in the output")
	}
	if m.Mends {
		if said, stderr, code := at.run(t, "sh", "-c", mend); code != 0 {
			t.Errorf("%s: exit code %d: %s%s", mend, code, said, stderr)
		}
		if again, stderr, code, _ := w.doctor(t, at); code != 0 {
			t.Errorf("after %s: %s%s", mend, again, stderr)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}

// merge is a JSON merge patch (RFC 7396).
func merge(into, patch object) object {
	merged := maps.Clone(into)
	for key, value := range patch {
		below, ok := value.(object)
		have, both := merged[key].(object)
		switch {
		case value == nil:
			delete(merged, key)
		case ok && both:
			merged[key] = merge(have, below)
		default:
			merged[key] = value
		}
	}
	return merged
}

// The rows can fail: the healthy one has no finding, and the names are unique.
func TestRows(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("testdata", "mistakes.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	names, healthy := map[string]bool{}, 0
	for row := range bytes.SplitSeq(text, []byte("\n---\n")) {
		var m mistake
		if err := yaml.UnmarshalStrict(row, &m); err != nil {
			t.Fatal(err)
		}
		if names[m.Mistake] {
			t.Errorf("two rows are named %q", m.Mistake)
		}
		names[m.Mistake] = true
		if len(m.Want)+len(m.Warn) == 0 {
			healthy++
		}
	}
	if healthy < 3 {
		t.Errorf("%d healthy rows", healthy)
	}
}
