package handlers

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"azwi/contract"
	"azwi/internal/admission/account"
	"azwi/internal/admission/webhook"
	"azwi/internal/pod/inject"
	"azwi/test/cluster"
	"azwi/test/product"
)

type object = map[string]any

// A Set serves one webhook handler for each namespace, all at one address.
type Set struct {
	cluster  *cluster.Cluster
	addr     string
	accounts *account.Reader
	metrics  *webhook.Metrics

	mu          sync.Mutex
	byNamespace map[string]http.Handler
}

// Serve serves until the test ends.
func Serve(t *testing.T, c *cluster.Cluster) *Set {
	t.Helper()
	accounts, err := account.NewReader(account.Config{Client: c.Admin.HTTP, Host: c.URL})
	if err != nil {
		t.Fatal(err)
	}
	w := &Set{cluster: c, accounts: accounts, metrics: webhook.NewMetrics(), byNamespace: map[string]http.Handler{}}
	w.addr = ServeTLS(t, c, w)
	return w
}

// ServeTLS serves a handler with a certificate of the cluster's CA until the test
// ends, and returns its address.
func ServeTLS(t *testing.T, c *cluster.Cluster, h http.Handler) string {
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
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// Register makes the API server call the handler, with these settings, for the
// namespace's pods until the test ends.
func (w *Set) Register(t *testing.T, namespace string, settings inject.Settings) {
	t.Helper()
	w.mu.Lock()
	w.byNamespace[namespace] = &webhook.Handler{
		Accounts: w.accounts, Settings: settings, Metrics: w.metrics, Logger: slog.New(slog.DiscardHandler),
	}
	w.mu.Unlock()
	Register(t, w.cluster, product.Registration{Addr: w.addr, Namespaces: []string{namespace}})
}

// Register registers a webhook, by default under the name of its first namespace,
// until the test ends.
func Register(t *testing.T, c *cluster.Cluster, r product.Registration) {
	t.Helper()
	if r.Name == "" {
		r.Name = r.Namespaces[0]
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	t.Cleanup(func() {
		path := "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/" + r.Name
		if _, err := c.Admin.Do(context.WithoutCancel(t.Context()), "DELETE", path, nil, nil); err != nil {
			t.Errorf("remove the registration: %v", err)
		}
	})
	if err := product.Register(ctx, c, r); err != nil {
		t.Fatal(err)
	}
}

func (w *Set) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var review struct{ Request struct{ Namespace string } }
	if err == nil {
		err = json.Unmarshal(body, &review)
	}
	w.mu.Lock()
	handler := w.byNamespace[review.Request.Namespace]
	w.mu.Unlock()
	if err != nil || handler == nil {
		http.Error(rw, fmt.Sprintf("no handler for namespace %q: %v", review.Request.Namespace, err), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	handler.ServeHTTP(rw, r)
}

// CreateAccount creates a service account in its namespace.
func CreateAccount(t *testing.T, c *cluster.Cluster, a inject.Account) (warnings []string) {
	t.Helper()
	warnings, err := c.Admin.Do(t.Context(), "POST", "/api/v1/namespaces/"+a.Namespace+"/serviceaccounts",
		object{"metadata": object{"name": a.Name, "annotations": a.Annotations, "labels": a.Labels}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return warnings
}

// Parse reads a pod as the webhook does.
func Parse(t *testing.T, raw []byte) *inject.Pod {
	t.Helper()
	pod, err := inject.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

// AddContainer is somebody else's webhook: it names the pod and adds a container at
// either end, unless they are there.
func AddContainer(w http.ResponseWriter, r *http.Request) {
	mutate(w, r, func(raw string) []object {
		switch {
		case !strings.Contains(raw, "initContainers"):
			return answerProbe()
		case strings.Contains(raw, `"added-init"`):
			return nil
		}
		return []object{
			{"op": "add", "path": "/metadata/name", "value": "renamed"},
			{"op": "add", "path": "/spec/initContainers/0", "value": object{"name": "added-init", "image": "a:1"}},
			{"op": "add", "path": "/spec/containers/-", "value": object{"name": "added", "image": "a:1"}},
		}
	})
}

// ChangeAccount is somebody else's webhook: pods of the service account orders become
// ones of payments.
func ChangeAccount(w http.ResponseWriter, r *http.Request) {
	mutate(w, r, func(raw string) []object {
		switch {
		case strings.Contains(raw, `"serviceAccountName":"orders"`):
			return []object{{"op": "replace", "path": "/spec/serviceAccountName", "value": "payments"}}
		case strings.Contains(raw, `"serviceAccountName":"payments"`):
			return nil
		}
		return answerProbe()
	})
}

// answerProbe shows product.Register that the webhook is in force.
func answerProbe() []object {
	return []object{{"op": "add", "path": "/metadata/labels/" + contract.EnvTenantID, "value": "x"}}
}

// mutate answers a review with what patch says of the pod.
func mutate(w http.ResponseWriter, r *http.Request, patch func(pod string) []object) {
	var review struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Request    struct {
			UID    string          `json:"uid"`
			Object json.RawMessage `json:"object"`
		} `json:"request"`
	}
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	response := object{"uid": review.Request.UID, "allowed": true}
	if ops := patch(string(review.Request.Object)); len(ops) > 0 {
		raw, _ := json.Marshal(ops)
		response["patch"], response["patchType"] = raw, "JSONPatch"
	}
	_ = json.NewEncoder(w).Encode(object{"apiVersion": review.APIVersion, "kind": review.Kind, "response": response})
}
