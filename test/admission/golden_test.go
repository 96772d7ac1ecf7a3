package admission_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"azwi/contract"
	"azwi/internal/pod/inject/injecttest"
	"azwi/test/handlers"
)

// TestGoldens creates the pod of every golden case of package inject on the real
// API server, through the webhook's handler with the case's settings. The API
// server must take the result, and show the denial and the warnings; and what it
// made of the pod, defaults included, must need nothing more.
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
			namespace := newNamespace(t, c)
			account := g.Account
			account.Namespace = namespace
			handlers.CreateAccount(t, c, account)
			webhooks.Register(t, namespace, g.Settings)

			var created json.RawMessage
			warnings, err := c.Admin.Do(t.Context(), "POST", "/api/v1/namespaces/"+namespace+"/pods?fieldValidation=Ignore", g.Pod, &created)
			offline := handlers.Parse(t, g.Pod).Inject(account, g.Settings)
			if offline.Denial != nil {
				if statusCode(err) != http.StatusBadRequest || !strings.Contains(err.Error(), offline.Denial.Text()) {
					t.Fatalf("got %v, want the denial %q", err, offline.Denial.Text())
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			warnings = slices.DeleteFunc(warnings, func(w string) bool { return strings.HasPrefix(w, "spec.") }) // its own
			var want []string
			for _, w := range offline.Warnings {
				want = append(want, w.Text())
			}
			if diff := cmp.Diff(want, warnings); diff != "" {
				t.Errorf("warnings -want +got:\n%s", diff)
			}
			if again := handlers.Parse(t, created).Inject(account, g.Settings); len(again.Patch) > 0 || again.Denial != nil {
				t.Errorf("the API server's pod is not complete: %+v\n%s", again, created)
			}
			var pod createdPod
			if err := json.Unmarshal(created, &pod); err != nil {
				t.Fatal(err)
			}
			if len(offline.Patch) > 0 {
				checkInjected(t, g, pod)
			}
			checkSecurity(t, g, created)
			if !strings.Contains(string(g.Pod), contract.MirrorPodAnnotation) { // these get no token at all
				checkProxies(t, pod)
			}
		})
	}
}

// checkInjected asks of every container what no golden case may lack.
func checkInjected(t *testing.T, g *injecttest.Case, pod createdPod) {
	t.Helper()
	skip := string(g.Pod)
	for _, c := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
		if c.Name == contract.ProxyInitContainer || strings.Contains(skip, "skip-containers") {
			continue
		}
		if file := c.env(contract.EnvFederatedTokenFile); !strings.HasSuffix(file, contract.TokenFileName) {
			t.Errorf("container %s has token file %q", c.Name, file)
		}
	}
}

// checkProxies makes sure that no proxy container that we added holds the API
// server's token, which in-tree admission mounts again after us.
func checkProxies(t *testing.T, pod createdPod) {
	t.Helper()
	for _, c := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
		volumes := c.mounts(contract.APITokenMountPath)
		switch {
		case c.Name != contract.ProxyContainer && c.Name != contract.ProxyInitContainer:
			if len(volumes) != 1 || !strings.HasPrefix(volumes[0], "kube-api-access-") {
				t.Errorf("container %s has %v at the API server's token path", c.Name, volumes)
			}
		case strings.Contains(t.Name(), "proxy-present"): // not ours
		case len(volumes) != 1 || volumes[0] != contract.EmptyVolume:
			t.Errorf("container %s has %v at the API server's token path, want the empty volume", c.Name, volumes)
		}
	}
}
