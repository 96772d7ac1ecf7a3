package azure_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"azwi/internal/azure"
	"azwi/internal/azure/arm"
	"azwi/internal/azure/graph"
	"azwi/internal/token/entra"
)

const (
	managerURL   = "https://management.example"
	directoryURL = "https://graph.example:8443"
	authorityURL = "https://login.example"
)

// hostile answers in place of Azure, and notes what was sent elsewhere.
type hostile struct {
	answer func(*http.Request) *http.Response

	mu   sync.Mutex
	sent map[string]int // requests by origin
	leak []string       // those with a credential that went elsewhere
}

func (h *hostile) RoundTrip(r *http.Request) (*http.Response, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sent == nil {
		h.sent = map[string]int{}
	}
	origin := strings.ToLower(r.URL.Scheme + "://" + r.URL.Host)
	h.sent[origin]++
	home := []string{managerURL, managerURL + ":443", directoryURL, authorityURL}
	if !slices.Contains(home, origin) && (r.Header.Get("Authorization") != "" || r.Body != nil && r.Body != http.NoBody) {
		h.leak = append(h.leak, r.Method+" "+origin)
	}
	resp := h.answer(r)
	resp.Request = r
	return resp, nil
}

func body(status int, text string, header ...string) *http.Response {
	resp := &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(text))}
	for i := 0; i < len(header); i += 2 {
		resp.Header.Set(header[i], header[i+1])
	}
	return resp
}

// A bearer is a credential that always has a token.
type bearer struct{}

func (bearer) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "secret", ExpiresOn: time.Now().Add(24 * time.Hour)}, nil
}

type clients struct {
	arm    *arm.Client
	graph  *graph.Client
	config azure.Config
}

func (h *hostile) clients() clients {
	options := azcore.ClientOptions{Transport: &http.Client{Transport: h}, Cloud: cloud.Configuration{
		ActiveDirectoryAuthorityHost: authorityURL,
		Services:                     map[cloud.ServiceName]cloud.ServiceConfiguration{cloud.ResourceManager: {Endpoint: managerURL, Audience: managerURL}},
	}}
	return clients{
		arm:   arm.New(arm.Config{Credential: bearer{}, Options: options}),
		graph: graph.New(graph.Config{Endpoint: directoryURL, Credential: bearer{}, Options: options}),
		config: azure.Config{
			Method: azure.MethodClientSecret, TenantID: "33333333-0000-4000-8000-000000000001", ClientID: "33333333-0000-4000-8000-000000000002",
			ClientSecret: "secret", HTTP: &http.Client{Transport: h}, Cloud: entra.Cloud{AuthorityHost: authorityURL + "/", ResourceManager: managerURL},
		},
	}
}

type call func(context.Context, clients) error

const (
	subscription = "33333333-0000-4000-8000-000000000003"
	scope        = "/subscriptions/" + subscription
)

// lists are all methods that read pages, gets the others that send a credential.
func lists() map[string]call {
	identity := arm.IdentityID{Subscription: subscription, ResourceGroup: "g", Name: "i"}
	return map[string]call{
		"identities of a subscription": func(ctx context.Context, c clients) error {
			_, err := c.arm.Identities(ctx, subscription, "")
			return err
		},
		"identities of a group": func(ctx context.Context, c clients) error {
			_, err := c.arm.Identities(ctx, subscription, "g")
			return err
		},
		"credentials of an identity": func(ctx context.Context, c clients) error { _, err := c.arm.Credentials(ctx, identity); return err },
		"role definition": func(ctx context.Context, c clients) error {
			_, err := c.arm.RoleDefinition(ctx, scope, "r")
			return err
		},
		"role assignment": func(ctx context.Context, c clients) error {
			_, err := c.arm.FindRoleAssignment(ctx, arm.RoleAssignment{Scope: scope})
			return err
		},
		"permissions":  func(ctx context.Context, c clients) error { _, err := c.arm.Permissions(ctx, scope); return err },
		"applications": func(ctx context.Context, c clients) error { _, err := c.graph.ApplicationsByName(ctx, "a"); return err },
		"service principals": func(ctx context.Context, c clients) error {
			_, err := c.graph.ServicePrincipalsByName(ctx, "a")
			return err
		},
		"credentials of applications": func(ctx context.Context, c clients) error { _, err := c.graph.Credentials(ctx, "a"); return err },
		"directory roles":             func(ctx context.Context, c clients) error { _, err := c.graph.DirectoryRoles(ctx); return err },
		"owners":                      func(ctx context.Context, c clients) error { _, err := c.graph.Owners(ctx, "a"); return err },
	}
}

func gets() map[string]call {
	identity := arm.IdentityID{Subscription: subscription, ResourceGroup: "g", Name: "i"}
	return map[string]call{
		"identity": func(ctx context.Context, c clients) error { _, err := c.arm.Identity(ctx, identity); return err },
		"create identity": func(ctx context.Context, c clients) error {
			_, err := c.arm.CreateIdentity(ctx, identity, "l")
			return err
		},
		"delete identity": func(ctx context.Context, c clients) error { return c.arm.DeleteIdentity(ctx, identity) },
		"put credential": func(ctx context.Context, c clients) error {
			return c.arm.PutCredential(ctx, identity, arm.Credential{Name: "c"})
		},
		"delete credential": func(ctx context.Context, c clients) error { return c.arm.DeleteCredential(ctx, identity, "c") },
		"location": func(ctx context.Context, c clients) error {
			_, err := c.arm.GroupLocation(ctx, subscription, "g")
			return err
		},
		"assign role": func(ctx context.Context, c clients) error {
			_, _, err := c.arm.AssignRole(ctx, arm.RoleAssignment{Scope: scope})
			return err
		},
		"delete assignment": func(ctx context.Context, c clients) error {
			_, err := c.arm.DeleteRoleAssignment(ctx, scope+"/providers/Microsoft.Authorization/roleAssignments/a")
			return err
		},
		"application": func(ctx context.Context, c clients) error {
			_, err := c.graph.ApplicationByObjectID(ctx, "a")
			return err
		},
		"by client ID": func(ctx context.Context, c clients) error {
			_, err := c.graph.ApplicationByClientID(ctx, "a")
			return err
		},
		"create application": func(ctx context.Context, c clients) error { _, err := c.graph.CreateApplication(ctx, "a"); return err },
		"delete application": func(ctx context.Context, c clients) error { return c.graph.DeleteApplication(ctx, "a") },
		"service principal": func(ctx context.Context, c clients) error {
			_, err := c.graph.ServicePrincipalByClientID(ctx, "a")
			return err
		},
		"create principal": func(ctx context.Context, c clients) error {
			_, err := c.graph.CreateServicePrincipal(ctx, "a")
			return err
		},
		"create credential": func(ctx context.Context, c clients) error {
			return c.graph.CreateCredential(ctx, "a", graph.Credential{})
		},
		"update credential": func(ctx context.Context, c clients) error {
			return c.graph.UpdateCredential(ctx, "a", "c", graph.Credential{})
		},
		"policy": func(ctx context.Context, c clients) error { _, err := c.graph.UsersCreateApplications(ctx); return err },
		"tenant": func(ctx context.Context, c clients) error {
			_, err := azure.SignIn{Config: c.config}.TenantOf(ctx, subscription)
			return err
		},
	}
}

func all() map[string]call {
	both := lists()
	maps.Copy(both, gets())
	return both
}

// elsewhere are targets that look like Azure and are not, for a request to home.
func elsewhere(home string) []string {
	host := strings.TrimPrefix(home, "https://")
	name, _, _ := strings.Cut(host, ":")
	return []string{
		"https://evil.example", "https://" + name + ":444", "http://" + host, "https://" + host + "@evil.example", "https://" + name + ".evil.example",
		"https://evil." + name, strings.Replace(home, "https", "HTTP", 1), "//evil.example",
	}
}

func homeOf(r *http.Request) string { return "https://" + r.URL.Host }

func refused(err error, text string) bool {
	answer, ok := errors.AsType[*azure.AnswerError](err)
	return ok && !azure.Refused(err).SignIn && strings.Contains(answer.Error(), text)
}

func TestNoNextPageElsewhere(t *testing.T) {
	t.Parallel()
	for name, list := range lists() {
		for i := range elsewhere(managerURL) {
			h := &hostile{answer: func(r *http.Request) *http.Response {
				next := elsewhere(homeOf(r))[i] + "/next"
				return body(200, fmt.Sprintf(`{"value":[null],"nextLink":%q,"@odata.nextLink":%q}`, next, next))
			}}
			if err := list(t.Context(), h.clients()); err == nil || strings.Contains(elsewhere(managerURL)[i], ":") && !refused(err, "credentials are not sent there") {
				t.Errorf("%s: next page at %s: %v", name, elsewhere(managerURL)[i], err)
			}
			if len(h.sent) != 1 || len(h.leak) > 0 {
				t.Errorf("%s: next page at %s: sent %v, leaked %v", name, elsewhere(managerURL)[i], h.sent, h.leak)
			}
		}
	}
}

func TestNoRedirectElsewhere(t *testing.T) {
	t.Parallel()
	for name, send := range all() {
		for _, status := range []int{301, 302, 303, 307, 308} {
			for i := range elsewhere(managerURL) {
				h := &hostile{answer: func(r *http.Request) *http.Response {
					return body(status, "", "Location", elsewhere(homeOf(r))[i]+"/next")
				}}
				if err := send(t.Context(), h.clients()); !refused(err, "credentials are not sent there") {
					t.Errorf("%s: %d to %s: %v", name, status, elsewhere(managerURL)[i], err)
				}
				if len(h.sent) != 1 || len(h.leak) > 0 {
					t.Errorf("%s: %d to %s: sent %v, leaked %v", name, status, elsewhere(managerURL)[i], h.sent, h.leak)
				}
			}
		}
	}
}

// The same origin may be written in other ways.
func TestSameOrigin(t *testing.T) {
	t.Parallel()
	for _, next := range []string{managerURL, managerURL + ":443", "HTTPS://Management.Example"} {
		first := true
		h := &hostile{answer: func(*http.Request) *http.Response {
			if first {
				first = false
				return body(200, fmt.Sprintf(`{"value":[{"actions":["a"]}],"nextLink":%q}`, next+"/next"))
			}
			return body(200, `{"value":[{"actions":["b"]}]}`)
		}}
		if got, err := h.clients().arm.Permissions(t.Context(), scope); err != nil || len(got) != 2 {
			t.Errorf("%s: %v, %v", next, got, err)
		}
		// And a redirect within it is followed.
		h = &hostile{answer: func(r *http.Request) *http.Response {
			if r.URL.Path != "/moved" {
				return body(307, "", "Location", next+"/moved")
			}
			return body(200, `{"location":"here"}`)
		}}
		if got, err := h.clients().arm.GroupLocation(t.Context(), subscription, "g"); err != nil || got != "here" {
			t.Errorf("redirect to %s: %q, %v", next, got, err)
		}
	}
}

func TestEndlessPages(t *testing.T) {
	t.Parallel()
	endless := func(t *testing.T, name, items, want string) {
		pages := 0
		h := &hostile{answer: func(r *http.Request) *http.Response {
			pages++
			next := fmt.Sprintf("%s/next?page=%d", homeOf(r), pages)
			return body(200, fmt.Sprintf(`{"value":[%s],"nextLink":%q,"@odata.nextLink":%q}`, items, next, next))
		}}
		if err := lists()[name](t.Context(), h.clients()); !refused(err, want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	for name := range lists() {
		endless(t, name, "", "more than 1000 pages")
	}
	// They share the rest.
	endless(t, "owners", strings.Repeat(" ", 4<<20-200), "more than 32 MiB")
	endless(t, "credentials of an identity", strings.Repeat("{},", 50_000)+"{}", "more than 100000 entries")
}

func TestLargeAnswers(t *testing.T) {
	t.Parallel()
	large := strings.Repeat(" ", 4<<20+1)
	for name, send := range all() {
		if name == "tenant" {
			continue // reads no body
		}
		for _, status := range []int{200, 403, 500} {
			h := &hostile{answer: func(*http.Request) *http.Response { return body(status, large) }}
			if err := send(t.Context(), h.clients()); !refused(err, "more than 4 MiB") && !strings.HasPrefix(name, "delete") {
				t.Errorf("%s: %d: %v", name, status, err)
			}
		}
	}
}

// A gzip bomb counts by what comes out of it.
func TestGzipBomb(t *testing.T) {
	t.Parallel()
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	for range 64 {
		_, _ = w.Write(make([]byte, 1<<20))
	}
	w.Close()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			t.Error("no gzip is asked for: this test proves nothing")
		}
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb.Bytes())
	}))
	t.Cleanup(server.Close)
	c := graph.New(graph.Config{Endpoint: server.URL, Credential: bearer{}, Options: azcore.ClientOptions{Transport: server.Client()}})
	if _, err := c.ApplicationsByName(t.Context(), "a"); !refused(err, "more than 4 MiB") {
		t.Errorf("%d bytes that become 64 MiB: %v", bomb.Len(), err)
	}
}

// A drip is a body of which one byte comes at a time.
type drip struct {
	ctx   context.Context
	pause time.Duration
}

func (d drip) Read(p []byte) (int, error) {
	select {
	case <-time.After(d.pause):
		p[0] = ' '
		return 1, nil
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
}

func (drip) Close() error { return nil }

func TestDrippingAnswers(t *testing.T) {
	t.Parallel()
	for name, send := range all() {
		if name == "tenant" {
			continue // reads no body
		}
		synctest.Test(t, func(t *testing.T) {
			h := &hostile{answer: func(r *http.Request) *http.Response {
				return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: drip{r.Context(), 10 * time.Second}}
			}}
			began := time.Now()
			if err := send(t.Context(), h.clients()); !refused(err, "did not complete its answer within 2m0s") {
				t.Errorf("%s: %v", name, err)
			}
			if took := time.Since(began); took > 3*time.Minute {
				t.Errorf("%s took %s", name, took)
			}
		})
	}
	for name, list := range lists() {
		synctest.Test(t, func(t *testing.T) {
			h := &hostile{answer: func(r *http.Request) *http.Response {
				<-time.After(90 * time.Second)
				return body(200, fmt.Sprintf(`{"value":[],"nextLink":%q,"@odata.nextLink":%q}`, r.URL, r.URL))
			}}
			began := time.Now()
			if err := list(t.Context(), h.clients()); !refused(err, "not complete after 10m0s") {
				t.Errorf("slow pages: %s: %v", name, err)
			}
			if took := time.Since(began); took > 13*time.Minute {
				t.Errorf("slow pages: %s took %s", name, took)
			}
		})
	}
}

// What an authority answers sends no secret elsewhere.
func TestSignInElsewhere(t *testing.T) {
	t.Parallel()
	for i := range elsewhere(authorityURL) {
		for what, answer := range map[string]func(*http.Request) *http.Response{
			"endpoint": func(r *http.Request) *http.Response {
				target := elsewhere(authorityURL)[i]
				if strings.HasSuffix(r.URL.Path, "openid-configuration") {
					return body(200, fmt.Sprintf(`{"authorization_endpoint":%[1]q,"token_endpoint":%[1]q,"issuer":%[2]q}`, target+"/t", authorityURL+"/33333333-0000-4000-8000-000000000001/v2.0"))
				}
				return body(200, `{"access_token":"a","expires_in":3600,"token_type":"Bearer"}`)
			},
			"redirect": func(r *http.Request) *http.Response {
				return body(307, "", "Location", elsewhere(authorityURL)[i]+r.URL.Path)
			},
			"redirect of the request": func(r *http.Request) *http.Response {
				if strings.HasSuffix(r.URL.Path, "openid-configuration") {
					return body(200, fmt.Sprintf(`{"authorization_endpoint":"%[1]s/a","token_endpoint":"%[1]s/t","issuer":"%[1]s/33333333-0000-4000-8000-000000000001/v2.0"}`, authorityURL))
				}
				return body(307, "", "Location", elsewhere(authorityURL)[i]+r.URL.Path)
			},
		} {
			h := &hostile{answer: answer}
			signIn, err := azure.New(h.clients().config)
			if err != nil {
				t.Fatal(err)
			}
			credential, err := signIn.Credential()
			if err != nil {
				t.Fatal(err)
			}
			_, err = credential.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{managerURL + "/.default"}})
			if err == nil || len(h.leak) > 0 {
				t.Errorf("%s at %s: %v, leaked %v", what, elsewhere(authorityURL)[i], err, h.leak)
			}
			for origin := range h.sent {
				if origin != authorityURL {
					t.Errorf("%s at %s: a request was sent there", what, origin)
				}
			}
		}
	}
}

// The endpoint of managed identities is this machine's, and no answer moves it.
func TestManagedIdentity(t *testing.T) {
	t.Parallel()
	for redirect, wantSent := range map[string]map[string]int{
		"":                             {"http://169.254.169.254": 1},
		"https://evil.example/t":       {"http://169.254.169.254": 1},
		"http://169.254.169.254/other": {"http://169.254.169.254": 1},
	} {
		h := &hostile{answer: func(*http.Request) *http.Response {
			if redirect != "" {
				return body(307, "", "Location", redirect)
			}
			return body(200, `{"access_token":"a","expires_in":"3600","resource":"r","token_type":"Bearer"}`)
		}}
		config := h.clients().config
		config.Method = azure.MethodManagedIdentity
		config.ClientID = fmt.Sprintf("33333333-0000-4000-8000-0000000010%02d", len(redirect)) // the SDK keeps tokens by it
		signIn, err := azure.New(config)
		if err != nil {
			t.Fatal(err)
		}
		credential, err := signIn.Credential()
		if err != nil {
			t.Fatal(err)
		}
		_, err = credential.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{managerURL + "/.default"}})
		if (err == nil) != (redirect == "") || !maps.Equal(h.sent, wantSent) {
			t.Errorf("redirect to %q: %v, sent %v", redirect, err, h.sent)
		}
	}
}
