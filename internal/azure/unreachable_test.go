package azure_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"azwi/internal/azure"
	"azwi/internal/azure/graph"
	"azwi/internal/finding"
	"azwi/internal/token/entra"
)

// closed is a URL on which nobody listens.
func closed(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return "https://" + listener.Addr().String()
}

// TestUnreachable: what was never reached is told after one try, by sign-in and by a service.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	untrusted := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(untrusted.Close)
	for name, test := range map[string]struct{ url, want string }{
		"refused":   {closed(t), "connection refused"},
		"untrusted": {untrusted.URL, "certificate"},
	} {
		config := azure.Config{
			Method: azure.MethodClientSecret, ClientID: "c", ClientSecret: "s", TenantID: "11111111-1111-1111-1111-111111111111",
			Cloud: entra.Cloud{AuthorityHost: test.url + "/", Graph: test.url},
		}
		var begun, ended atomic.Int64
		config.Waiting = func(host string) func() {
			if "https://"+host != test.url {
				t.Errorf("%s: waiting for %s", name, host)
			}
			begun.Add(1)
			return func() { ended.Add(1) }
		}
		signIn, err := azure.New(config)
		if err != nil {
			t.Fatal(err)
		}
		credential, err := signIn.Credential()
		if err != nil {
			t.Fatal(err)
		}
		_, tokenErr := credential.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{"https://graph.microsoft.com/.default"}})
		client := graph.New(graph.Config{Endpoint: test.url, Credential: credential, Options: config.ClientOptions()})
		_, service := client.ApplicationsByName(t.Context(), "orders")
		if begun.Load() < 2 || begun.Load() != ended.Load() {
			t.Errorf("%s: %d calls begun, %d ended", name, begun.Load(), ended.Load())
		}
		for what, err := range map[string]error{"sign-in": tokenErr, "service": service} {
			if !errors.Is(err, finding.CodeAzureUnreachable) {
				t.Errorf("%s, %s: %v", name, what, err)
				continue
			}
			text := azure.Brief(err)
			for _, want := range []string{strings.TrimPrefix(test.url, "https://") + " can't be reached", test.want, "$HTTPS_PROXY"} {
				if !strings.Contains(text, want) {
					t.Errorf("%s, %s: %q lacks %q", name, what, text, want)
				}
			}
			if strings.Contains(text, "\n") {
				t.Errorf("%s, %s: more than a line: %q", name, what, text)
			}
		}
	}
}

// A service that has answered is tried again when a connection to it fails.
func TestReachedBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		transport := transporterFunc(func(r *http.Request) (*http.Response, error) {
			tries++
			if tries == 2 {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
			}
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: http.NoBody, Request: r}, nil
		})
		config := azure.Config{Cloud: entra.Cloud{Graph: "https://graph.example"}, HTTP: transport}
		service := azure.NewService(azure.ServiceConfig{Endpoint: "https://graph.example", Credential: bearer{}, Options: config.ClientOptions()})
		for range 2 {
			if err := service.Do(t.Context(), http.MethodGet, "https://graph.example/x", nil, nil); err != nil {
				t.Error(err)
			}
		}
		if tries != 3 {
			t.Errorf("%d tries, want 3", tries)
		}
	})
}

type transporterFunc func(*http.Request) (*http.Response, error)

func (f transporterFunc) Do(r *http.Request) (*http.Response, error) { return f(r) }
