package federation_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"azwi/internal/identity/federation"
)

const audience = "api://AzureADTokenExchange"

// both are an application and a managed identity.
func both(t *testing.T, c *cloud) []federation.Identity {
	t.Helper()
	app, err := c.graph.CreateApplication(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	return []federation.Identity{{ApplicationID: app.ObjectID, Name: "orders"}, managed("orders")}
}

const ordersSeed = `
managedIdentities: [{name: orders}]
`

func TestEnsure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := start(t, ordersSeed)
		for _, identity := range both(t, c) {
			want := identity.Credential("shop", "orders", "https://issuer.example.com/", audience, "")
			for _, outcome := range []federation.Outcome{federation.Created, federation.Unchanged} {
				if _, got, err := c.Ensure(t.Context(), identity, want, false); err != nil || got != outcome {
					t.Errorf("%s: %s, %v; want %s", identity, got, err, outcome)
				}
			}
			// What somebody else made under another name is used.
			foreign := want
			foreign.Name, foreign.Issuer, foreign.Description = "by-az", "https://other.example.com", ""
			if err := c.Put(t.Context(), identity, foreign); err != nil {
				t.Fatal(err)
			}
			same := identity.Credential("shop", "orders", "https://other.example.com", audience, "")
			if got, outcome, err := c.Ensure(t.Context(), identity, same, false); err != nil || outcome != federation.Unchanged || got.Name != "by-az" {
				t.Errorf("%s: %+v, %s, %v", identity, got, outcome, err)
			}
			same.Audience = "api://another"
			for _, dryRun := range []bool{true, false} {
				if got, outcome, err := c.Ensure(t.Context(), identity, same, dryRun); err != nil || outcome != federation.Updated || got.Name != "by-az" {
					t.Errorf("%s: %+v, %s, %v", identity, got, outcome, err)
				}
			}
			all, err := c.List(t.Context(), identity)
			if err != nil || len(all) != 2 {
				t.Fatalf("%s: %v, %v", identity, all, err)
			}
			for _, credential := range all {
				if named := identity.Named(credential); named != (credential.Name == want.Name) {
					t.Errorf("%s: %s is named as we do: %v", identity, credential.Name, named)
				}
				for range 2 { // one that is gone is no error
					if err := c.Delete(t.Context(), identity, credential); err != nil {
						t.Error(err)
					}
				}
			}
			if all, err := c.List(t.Context(), identity); err != nil || len(all) != 0 {
				t.Errorf("%s: %v, %v", identity, all, err)
			}
		}
	})
}

func TestLimitIsKnownBeforehand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := start(t, ordersSeed)
		for _, identity := range both(t, c) {
			for i := range federation.MaxCredentials {
				want := identity.Credential("shop", fmt.Sprintf("a%d", i), "https://issuer.example.com", audience, "")
				if _, _, err := c.Ensure(t.Context(), identity, want, false); err != nil {
					t.Fatal(err)
				}
			}
			before := len(c.writes)
			_, _, err := c.Ensure(t.Context(), identity, identity.Credential("shop", "one-more", "https://issuer.example.com", audience, ""), false)
			limit, ok := errors.AsType[*federation.LimitError](err)
			if !ok || limit.Have != 20 || len(c.writes) != before {
				t.Errorf("%s: %v after %d writes", identity, err, len(c.writes)-before)
			}
		}
	})
}

// A write is tried again when that may help, and waits as long as Azure says.
func TestRetry(t *testing.T) {
	t.Parallel()
	const busy = `{"error":{"code":"ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity","message":"busy"}}`
	for _, test := range []struct {
		name    string
		refuse  func(r *http.Request, try int) *http.Response
		lose    int
		tries   int
		between [2]time.Duration
		text    string
	}{
		{
			name: "throttled, seconds", tries: 3, between: [2]time.Duration{14 * time.Second, 18 * time.Second},
			refuse: func(r *http.Request, try int) *http.Response {
				return refuseUntil(r, try, 3, http.StatusTooManyRequests, "7", "{}")
			},
		},
		{
			name: "throttled, date", tries: 2, between: [2]time.Duration{59 * time.Second, 75 * time.Second},
			refuse: func(r *http.Request, try int) *http.Response {
				return refuseUntil(r, try, 2, http.StatusTooManyRequests, time.Now().Add(time.Minute).UTC().Format(http.TimeFormat), "{}")
			},
		},
		{
			name: "concurrent write", tries: 4, between: [2]time.Duration{7 * time.Second, 9 * time.Second},
			refuse: func(r *http.Request, try int) *http.Response {
				return refuseUntil(r, try, 4, http.StatusConflict, "", busy)
			},
		},
		{name: "lost answers", lose: 2, tries: 3, between: [2]time.Duration{3 * time.Second, 4 * time.Second}},
		{
			name: "busy for ever", between: [2]time.Duration{4 * time.Minute, 5 * time.Minute}, text: "another caller keeps changing",
			refuse: func(r *http.Request, try int) *http.Response {
				return refuseUntil(r, try, 1000, http.StatusConflict, "", busy)
			},
		},
		{
			name: "unsupported region", tries: 1, text: "region",
			refuse: func(r *http.Request, try int) *http.Response {
				return refuseUntil(r, try, 1000, http.StatusMethodNotAllowed, "", "{}")
			},
		},
		{
			name: "not permitted", tries: 1, text: "not permitted",
			refuse: func(r *http.Request, try int) *http.Response {
				return refuseUntil(r, try, 1000, http.StatusForbidden, "", "{}")
			},
		},
		{
			name: "another conflict", tries: 1, text: "409",
			refuse: func(r *http.Request, try int) *http.Response {
				return refuseUntil(r, try, 1000, http.StatusConflict, "", `{"error":{"code":"Other"}}`)
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := start(t, ordersSeed)
				for _, identity := range both(t, c) {
					tries, lose := 0, test.lose
					c.before = func(r *http.Request) *http.Response {
						tries++
						if test.refuse == nil {
							return nil
						}
						return test.refuse(r, tries)
					}
					c.after = func(*http.Request) error {
						if lose == 0 {
							return nil
						}
						lose--
						return errors.New("connection lost")
					}
					want := identity.Credential("shop", "orders", "https://issuer.example.com", audience, "")
					began := time.Now()
					_, _, err := c.Ensure(t.Context(), identity, want, false)
					if test.text == "" && err != nil || test.text != "" && (err == nil || !strings.Contains(err.Error(), test.text)) {
						t.Errorf("%s: %v, want %q", identity, err, test.text)
					}
					// Emulated writes to a managed identity take their time.
					took := time.Since(began).Truncate(100 * time.Millisecond)
					if took < test.between[0] || took > test.between[1] {
						t.Errorf("%s: took %v, want %v", identity, took, test.between)
					}
					// An application's second creation is refused for good, and found to be ours.
					if want := test.tries; want != 0 && tries != want && (!identity.IsApplication() || test.lose == 0) {
						t.Errorf("%s: %d tries, want %d", identity, tries, want)
					}
					c.before, c.after = nil, nil
				}
			})
		})
	}
}

func refuseUntil(r *http.Request, try, until, status int, after, body string) *http.Response {
	if try >= until {
		return nil
	}
	header := http.Header{}
	if after != "" {
		header.Set("Retry-After", after)
	}
	return response(r, status, header, body)
}

// One that was just created may be unknown for half a minute, which nobody is told.
func TestFreshIdentity(t *testing.T) {
	t.Parallel()
	for _, fresh := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c := start(t, ordersSeed)
			for _, identity := range both(t, c) {
				tries := 0
				c.before = func(r *http.Request) *http.Response {
					tries++
					return refuseUntil(r, tries, 3, http.StatusNotFound, "", "{}")
				}
				identity.Fresh = fresh
				client := federation.NewClient(federation.Config{Graph: c.graph, ARM: c.arm, Waiting: func(_ federation.Identity, why error, _ time.Duration) {
					t.Errorf("told of %v", why)
				}})
				_, _, err := client.Ensure(t.Context(), identity, identity.Credential("shop", "orders", "https://issuer.example.com/", audience, ""), false)
				if (err == nil) != fresh || fresh && tries != 3 || !fresh && tries != 1 {
					t.Errorf("%s, fresh %t: %v after %d tries", identity, fresh, err, tries)
				}
				c.before = nil
			}
		})
	}
}

func TestUnknownIdentity(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := start(t, "")
		for _, identity := range []federation.Identity{managed("nobody"), {Name: "nobody", ApplicationID: "33333333-0000-4000-8000-000000000099"}} {
			if _, err := c.List(t.Context(), identity); err == nil || !strings.Contains(err.Error(), "nobody: there is no such") {
				t.Errorf("%s: %v", identity, err)
			}
		}
	})
}
