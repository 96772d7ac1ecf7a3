package federation_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"azwi/emulator"
	"azwi/internal/azure"
	"azwi/internal/azure/arm"
	"azwi/internal/azure/graph"
	"azwi/internal/identity/federation"
)

// cloud is the local cloud without a network, so that it works in a synctest
// bubble, where waiting takes no time.
type cloud struct {
	*emulator.Emulator
	*federation.Client
	config azure.Config
	graph  *graph.Client
	arm    *arm.Client
	// before may refuse or stop a request that is no GET, after lose its answer.
	// They are called one at a time.
	before func(r *http.Request) *http.Response
	after  func(r *http.Request) error

	mu     sync.Mutex
	writes []string
}

// RoundTrip hands a request to the emulator.
func (c *cloud) RoundTrip(r *http.Request) (*http.Response, error) {
	writing := r.Method != http.MethodGet && !strings.HasSuffix(r.URL.Path, "/oauth2/v2.0/token")
	if writing {
		if resp, err := c.look(r); resp != nil || err != nil {
			return resp, err
		}
	}
	rec := httptest.NewRecorder()
	c.ServeHTTP(rec, r)
	if writing && c.after != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if err := c.after(r); err != nil {
			return nil, err
		}
	}
	return rec.Result(), nil
}

// look lets a write pass or not. Nothing waits while the lock is held: a mutex
// would stop the bubble's time.
func (c *cloud) look(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.before != nil {
		if resp := c.before(r); resp != nil {
			return resp, nil
		}
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	c.writes = append(c.writes, r.Method+" "+r.URL.Path)
	return nil, nil
}

// Do sends a request, as the SDK wants it.
func (c *cloud) Do(r *http.Request) (*http.Response, error) { return c.RoundTrip(r) }

func operatorSeed() string {
	return fmt.Sprintf(`
servicePrincipals:
  - {name: operator, appId: %s, secrets: [{value: %s}], directoryRoles: [Application Administrator], appRoles: [Application.ReadWrite.All]}
roleAssignments: [{role: Owner, principal: operator}]
`, emulator.DefaultOperatorID, emulator.DefaultOperatorSecret)
}

func start(t testing.TB, seed string) *cloud {
	t.Helper()
	e, err := emulator.New(emulator.Config{Seed: []byte(operatorSeed() + seed)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	c := &cloud{Emulator: e}
	// One origin, so that no name is looked up.
	where, audience := azure.OneOrigin("https://127.0.0.1")
	c.config = azure.Config{
		TenantID: emulator.DefaultTenantID, ClientID: emulator.DefaultOperatorID, ClientSecret: emulator.DefaultOperatorSecret,
		Cloud: where, HTTP: c,
	}
	signIn, err := azure.New(c.config)
	if err != nil {
		t.Fatal(err)
	}
	credential, err := signIn.Credential()
	if err != nil {
		t.Fatal(err)
	}
	c.graph = graph.New(graph.Config{Endpoint: where.Graph, Audience: audience, Credential: credential, Options: c.config.ClientOptions()})
	c.arm = arm.New(arm.Config{Credential: credential, Options: c.config.ClientOptions()})
	c.Client = federation.NewClient(federation.Config{Graph: c.graph, ARM: c.arm})
	return c
}

// managed is a managed identity of the emulator's resource group.
func managed(name string) federation.Identity {
	return federation.Identity{Name: name, ManagedIdentity: arm.IdentityID{
		Subscription: emulator.DefaultSubscriptionID, ResourceGroup: emulator.DefaultResourceGroup, Name: name,
	}}
}

func response(r *http.Request, status int, header http.Header, body string) *http.Response {
	if header == nil {
		header = http.Header{}
	}
	header.Set("Content-Type", "application/json")
	return &http.Response{
		StatusCode: status, Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(bytes.NewReader([]byte(body))), Request: r,
	}
}
