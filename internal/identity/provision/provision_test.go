package provision_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"azwi/contract"
	"azwi/emulator"
	"azwi/emulator/emulatortest"
	"azwi/internal/azure"
	"azwi/internal/azure/arm"
	"azwi/internal/azure/graph"
	"azwi/internal/identity/provision"
	"azwi/internal/kube"
)

// cluster is an API server of one service account, shop/orders.
type cluster struct {
	mu      sync.Mutex
	account map[string]any // nil: there is none
	status  int            // of a refusal; 0: none
	wrote   []string       // methods that changed something
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	answer := func(status int, body any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}
	dry := r.URL.Query().Get("dryRun") == "All"
	switch {
	case r.URL.Path != "/api/v1/namespaces/shop/serviceaccounts/orders":
		answer(http.StatusNotFound, map[string]any{"kind": "Status", "reason": "NotFound", "message": r.URL.Path})
	case c.status != 0:
		answer(c.status, map[string]any{"kind": "Status", "reason": "Forbidden", "message": "no"})
	case c.account == nil && r.Method != http.MethodPatch:
		answer(http.StatusNotFound, map[string]any{"kind": "Status", "reason": "NotFound", "message": "none"})
	case r.Method == http.MethodPatch:
		var sent map[string]any
		if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
			answer(http.StatusBadRequest, map[string]any{"kind": "Status", "message": err.Error()})
			return
		}
		if !dry {
			c.account = sent
			c.wrote = append(c.wrote, r.Method)
		}
		answer(http.StatusOK, sent)
	case r.Method == http.MethodDelete:
		if !dry {
			c.account = nil
			c.wrote = append(c.wrote, r.Method)
		}
		answer(http.StatusOK, map[string]any{"kind": "Status", "status": "Success"})
	default:
		answer(http.StatusOK, c.account)
	}
}

func (c *cluster) client(t *testing.T) *kube.Client {
	t.Helper()
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	return &kube.Client{Host: server.URL, HTTP: server.Client()}
}

func TestEnsure(t *testing.T) {
	t.Parallel()
	wanted := provision.Account{Namespace: "shop", Name: "orders", ClientID: "c", TenantID: "t", TokenExpiration: 2 * time.Hour}
	c := &cluster{}
	client := c.client(t)
	created, changes, err := provision.Ensure(t.Context(), client, wanted, true)
	if err != nil || !created || len(changes) != 4 || len(c.wrote) > 0 {
		t.Errorf("dry run: %t, %v, %v, wrote %v", created, changes, err, c.wrote)
	}
	created, changes, err = provision.Ensure(t.Context(), client, wanted, false)
	want := []provision.Change{
		{Key: contract.ClientIDAnnotation, New: "c"}, {Key: contract.TokenExpirationAnnotation, New: "7200"},
		{Key: contract.TenantIDAnnotation, New: "t"}, {Key: contract.UseLabel, New: "true"},
	}
	if diff := cmp.Diff(want, changes); diff != "" || err != nil || !created {
		t.Errorf("created %t, %v: %s", created, err, diff)
	}
	if created, changes, err := provision.Ensure(t.Context(), client, wanted, false); err != nil || created || len(changes) > 0 {
		t.Errorf("again: %t, %v, %v", created, changes, err)
	}
	// kubectl owns another client ID, and the default lifetime needs no annotation.
	c.account = map[string]any{"kind": "ServiceAccount", "apiVersion": "v1", "metadata": map[string]any{
		"name": "orders", "namespace": "shop",
		"annotations":   map[string]any{contract.ClientIDAnnotation: "old", contract.TenantIDAnnotation: "t", contract.TokenExpirationAnnotation: "7200"},
		"labels":        map[string]any{contract.UseLabel: "true"},
		"managedFields": []any{map[string]any{"manager": "kubectl", "fieldsV1": map[string]any{"f:metadata": map[string]any{"f:annotations": map[string]any{"f:" + contract.ClientIDAnnotation: map[string]any{}}}}}},
	}}
	wanted.TokenExpiration = time.Hour
	_, changes, err = provision.Ensure(t.Context(), client, wanted, false)
	want = []provision.Change{{Key: contract.ClientIDAnnotation, Old: "old", New: "c", Manager: "kubectl"}, {Key: contract.TokenExpirationAnnotation, Old: "7200"}}
	if diff := cmp.Diff(want, changes); diff != "" || err != nil {
		t.Errorf("taken over: %v: %s", err, diff)
	}
	c.status = http.StatusForbidden
	if _, _, err := provision.Ensure(t.Context(), client, wanted, false); !kube.IsForbidden(err) || !strings.Contains(err.Error(), "read service account shop/orders") {
		t.Errorf("forbidden: %v", err)
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	c := &cluster{account: map[string]any{"metadata": map[string]any{"name": "orders"}}}
	client := c.client(t)
	for _, step := range []struct{ dryRun, deleted bool }{{true, true}, {false, true}, {false, false}} {
		if deleted, err := provision.Delete(t.Context(), client, "shop", "orders", step.dryRun); err != nil || deleted != step.deleted {
			t.Errorf("%+v: %t, %v", step, deleted, err)
		}
	}
	if !slices.Equal(c.wrote, []string{http.MethodDelete}) {
		t.Errorf("wrote %v", c.wrote)
	}
}

// operator asks a local Azure as one who may do everything.
func operator(t *testing.T) provision.Azure {
	t.Helper()
	server := emulatortest.Start(t, emulator.Config{})
	cloud, _ := azure.OneOrigin(server.AuthorityURL)
	config := azure.Config{
		TenantID: emulator.DefaultTenantID, ClientID: emulator.DefaultOperatorID, ClientSecret: emulator.DefaultOperatorSecret,
		Cloud: cloud, HTTP: server.Client(),
	}
	signIn, err := azure.New(config)
	if err != nil {
		t.Fatal(err)
	}
	credential, err := signIn.Credential()
	if err != nil {
		t.Fatal(err)
	}
	return provision.Azure{
		Graph: graph.New(graph.Config{Endpoint: cloud.Graph, Credential: credential, Options: config.ClientOptions(), Audience: "https://graph.microsoft.com"}),
		ARM:   arm.New(arm.Config{Credential: credential, Options: config.ClientOptions()}),
	}
}

func TestApplication(t *testing.T) {
	t.Parallel()
	a := operator(t)
	byName := provision.Reference{Name: "orders"}
	if _, found, err := a.Find(t.Context(), byName); found || err != nil {
		t.Fatalf("before: %t, %v", found, err)
	}
	created, err := a.CreateApplication(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []provision.Reference{byName, {ClientID: created.ClientID}, {ObjectID: created.ObjectID}} {
		if got, found, err := a.Find(t.Context(), r); !found || err != nil || got != created {
			t.Errorf("%s: %+v, %t, %v", r, got, found, err)
		}
	}
	if id, err := a.FindPrincipal(t.Context(), byName, created); id != "" || err != nil {
		t.Errorf("no principal yet: %q, %v", id, err)
	}
	principal, made, err := a.EnsurePrincipal(t.Context(), created, provision.Tags("shop", "orders", "v1"))
	if err != nil || !made || principal == "" {
		t.Fatalf("principal %q, %t, %v", principal, made, err)
	}
	if again, made, err := a.EnsurePrincipal(t.Context(), created, nil); err != nil || made || again != principal {
		t.Errorf("again: %q, %t, %v", again, made, err)
	}
	if id, err := a.FindPrincipal(t.Context(), byName, created); id != principal || err != nil {
		t.Errorf("found principal %q, %v", id, err)
	}
	another, err := a.CreateApplication(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = a.Find(t.Context(), byName)
	if ambiguous, ok := errors.AsType[*provision.AmbiguousError](err); !ok || len(ambiguous.IDs) != 2 || !slices.Contains(ambiguous.IDs, another.ClientID) {
		t.Errorf("two of that name: %v", err)
	}
	for range 2 { // the second time it is gone
		if err := a.Delete(t.Context(), provision.Reference{ObjectID: created.ObjectID}, created); err != nil {
			t.Error(err)
		}
	}
	if got, found, err := a.Find(t.Context(), byName); !found || err != nil || got != another {
		t.Errorf("after: %+v, %t, %v", got, found, err)
	}
}

func TestManagedIdentity(t *testing.T) {
	t.Parallel()
	a := operator(t)
	id := arm.IdentityID{Subscription: emulator.DefaultSubscriptionID, ResourceGroup: emulator.DefaultResourceGroup, Name: "orders"}
	r := provision.Reference{Managed: id}
	if _, found, err := a.Find(t.Context(), r); found || err != nil {
		t.Fatalf("before: %t, %v", found, err)
	}
	created, err := a.CreateManaged(t.Context(), id, "")
	if err != nil || created.Kind != provision.KindManagedIdentity || created.ClientID == "" {
		t.Fatalf("%+v, %v", created, err)
	}
	if got, found, err := a.Find(t.Context(), r); !found || err != nil || got != created {
		t.Errorf("%+v, %t, %v", got, found, err)
	}
	if principal, err := a.FindPrincipal(t.Context(), r, created); err != nil || principal != created.PrincipalID {
		t.Errorf("principal %q, %v", principal, err)
	}
	if err := a.Delete(t.Context(), r, created); err != nil {
		t.Error(err)
	}
	// A missing group is a mistake, not an identity that is to be created.
	_, _, err = a.Find(t.Context(), provision.Reference{Managed: arm.IdentityID{Subscription: emulator.DefaultSubscriptionID, ResourceGroup: "wbe", Name: "orders"}})
	if _, code := azure.StatusOf(err); code != "ResourceGroupNotFound" {
		t.Errorf("mistyped group: %v", err)
	}
}
