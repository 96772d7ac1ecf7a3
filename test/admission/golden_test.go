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
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"azwi/contract"
	"azwi/internal/account"
	"azwi/internal/inject"
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
	files, err := filepath.Glob("../../internal/inject/testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden cases: %v", err)
	}
	handlers := serveHandlers(t, c)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			g := readGolden(t, archive)
			namespace := newNamespace(t, c)
			g.account.Namespace = namespace
			handlers.add(namespace, g.settings)
			createGoldenAccount(t, c, g.account)
			register(t, c, product.Registration{Addr: handlers.addr, Namespaces: []string{namespace}})

			var created json.RawMessage
			warnings, err := c.Admin.Do(t.Context(), "POST", "/api/v1/namespaces/"+namespace+"/pods?fieldValidation=Ignore", g.pod, &created)
			offline := parse(t, g.pod).Inject(g.account, g.settings)
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
			if again := parse(t, created).Inject(g.account, g.settings); len(again.Patch) > 0 || again.Denial != nil {
				t.Errorf("the API server's pod is not complete: %+v\n%s", again, created)
			}
			var pod createdPod
			if err := json.Unmarshal(created, &pod); err != nil {
				t.Fatal(err)
			}
			if len(offline.Patch) > 0 {
				checkInjected(t, g, pod)
			}
			if !strings.Contains(string(g.pod), contract.MirrorPodAnnotation) { // these get no token at all
				checkProxies(t, pod)
			}
		})
	}
}

// checkInjected asks of every container what no golden case may lack.
func checkInjected(t *testing.T, g golden, pod createdPod) {
	t.Helper()
	skip := string(g.pod)
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

type golden struct {
	pod      []byte
	account  inject.Account
	settings inject.Settings
}

func readGolden(t *testing.T, archive *txtar.Archive) golden {
	t.Helper()
	g := golden{account: inject.Account{Name: "orders"}, settings: inject.Settings{
		TenantID: product.TenantID, AuthorityHost: "https://login.microsoftonline.com/",
		Proxy: inject.Proxy{Image: "azwi/proxy:v1", NativeSidecar: true},
	}}
	for _, f := range archive.Files {
		var err error
		switch f.Name {
		case "pod.yaml":
			g.pod, err = yaml.YAMLToJSON(f.Data)
		case "account.yaml":
			err = yaml.UnmarshalStrict(f.Data, &g.account)
		case "settings.yaml":
			err = yaml.UnmarshalStrict(f.Data, &g.settings)
		}
		if err != nil {
			t.Fatal(f.Name, err)
		}
	}
	return g
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
