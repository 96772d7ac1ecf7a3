package admission_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"azwi/contract"
	"azwi/internal/account"
	"azwi/internal/inject"
	"azwi/internal/inject/injecttest"
	admission "azwi/internal/webhook"
	"azwi/test/cluster"
	"azwi/test/product"
)

// TestGoldens creates the pod of every golden case of package inject on the real
// API server, through the webhook's handler with the case's settings. The API
// server must take the result, and show the denial and the warnings; and what it
// made of the pod, defaults included, must need nothing more.
func TestGoldens(t *testing.T) {
	t.Parallel()
	c := control.Start(t)
	cases, err := injecttest.Cases("../../internal/inject/testdata")
	if err != nil {
		t.Fatal(err)
	}
	handlers := serveHandlers(t, c)
	for _, g := range cases {
		t.Run(g.Name, func(t *testing.T) {
			t.Parallel()
			namespace := newNamespace(t, c)
			account := g.Account
			account.Namespace = namespace
			handlers.add(namespace, g.Settings)
			createGoldenAccount(t, c, account)
			register(t, c, product.Registration{Addr: handlers.addr, Namespaces: []string{namespace}})

			var created json.RawMessage
			warnings, err := c.Admin.Do(t.Context(), "POST", "/api/v1/namespaces/"+namespace+"/pods?fieldValidation=Ignore", g.Pod, &created)
			offline := parse(t, g.Pod).Inject(account, g.Settings)
			if offline.Denial != nil {
				if statusCode(err) != http.StatusBadRequest || !strings.Contains(err.Error(), offline.Denial.Message) {
					t.Fatalf("got %v, want the denial %q", err, offline.Denial.Message)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, w := range offline.Warnings {
				want = append(want, w.Message)
			}
			if diff := cmp.Diff(want, warnings); diff != "" {
				t.Errorf("warnings -want +got:\n%s", diff)
			}
			if again := parse(t, created).Inject(account, g.Settings); len(again.Patch) > 0 || again.Denial != nil {
				t.Errorf("the API server's pod is not complete: %+v\n%s", again, created)
			}
			var pod createdPod
			if err := json.Unmarshal(created, &pod); err != nil {
				t.Fatal(err)
			}
			if len(offline.Patch) > 0 {
				checkInjected(t, g, pod)
			}
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

func parse(t *testing.T, raw []byte) *inject.Pod {
	t.Helper()
	pod, err := inject.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

func createGoldenAccount(t *testing.T, c *cluster.Cluster, a inject.Account) {
	t.Helper()
	_, err := c.Admin.Do(t.Context(), "POST", "/api/v1/namespaces/"+a.Namespace+"/serviceaccounts",
		object{"metadata": object{"name": a.Name, "annotations": a.Annotations, "labels": a.Labels}}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

// handlerSet serves one webhook handler for each namespace, all at one address.
type handlerSet struct {
	addr     string
	accounts *account.Reader
	metrics  *admission.Metrics

	mu          sync.Mutex
	byNamespace map[string]http.Handler
}

func serveHandlers(t *testing.T, c *cluster.Cluster) *handlerSet {
	t.Helper()
	accounts, err := account.NewReader(account.Config{Client: c.Admin.HTTP, Host: c.URL})
	if err != nil {
		t.Fatal(err)
	}
	s := &handlerSet{accounts: accounts, metrics: admission.NewMetrics(), byNamespace: map[string]http.Handler{}}
	s.addr = serveTLS(t, c, s)
	return s
}

// serveTLS serves a handler with a certificate of the cluster's CA and returns its
// address.
func serveTLS(t *testing.T, c *cluster.Cluster, h http.Handler) string {
	t.Helper()
	pair, err := c.CA.Server("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := pair.TLS()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(h)
	server.TLS = tlsConfig(cert)
	server.StartTLS()
	t.Cleanup(server.Close)
	host, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(host, port)
}

func (s *handlerSet) add(namespace string, settings inject.Settings) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byNamespace[namespace] = &admission.Handler{
		Accounts: s.accounts, Settings: settings, Metrics: s.metrics, Logger: slog.New(slog.DiscardHandler),
	}
}

func (s *handlerSet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var review struct{ Request struct{ Namespace string } }
	if err == nil {
		err = json.Unmarshal(body, &review)
	}
	s.mu.Lock()
	handler := s.byNamespace[review.Request.Namespace]
	s.mu.Unlock()
	if err != nil || handler == nil {
		http.Error(w, fmt.Sprintf("no handler for namespace %q: %v", review.Request.Namespace, err), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	handler.ServeHTTP(w, r)
}
