package federation_test

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"azwi/emulator"
	"azwi/emulator/emulatortest"
	"azwi/internal/azure"
	"azwi/internal/azure/arm"
	"azwi/internal/identity/federation"
)

// 500 service accounts, each on 2 clusters and with 3 identities, are 3,000
// credentials. An identity holds 20, so it takes 150 of them, each for 10 service
// accounts.
const (
	scaleIdentities = 150
	scaleAccounts   = 10
	scaleClusters   = 2
	scaleWrites     = scaleIdentities * scaleAccounts * scaleClusters
)

func scaleAccount(identity, n int) string {
	return fmt.Sprintf("account-%d", identity/3*scaleAccounts+n)
}

func scaleFile() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: azwi/v1\nkind: Federation\nclusters:\n")
	for c := range scaleClusters {
		fmt.Fprintf(&b, "  - {name: c%d, issuer: \"https://c%d.example.com/\"}\n", c, c)
	}
	fmt.Fprintln(&b, "identities:")
	for i := range scaleIdentities {
		fmt.Fprintf(&b, "  - name: i%d\n    managedIdentity: %s\n    serviceAccounts:\n", i, managed(fmt.Sprintf("i%d", i)).ID())
		for n := range scaleAccounts {
			fmt.Fprintf(&b, "      - shop/%s\n", scaleAccount(i, n))
		}
	}
	return []byte(b.String())
}

// scaleSeed are the identities, with their credentials or without.
func scaleSeed(full bool) string {
	var b strings.Builder
	fmt.Fprintln(&b, "managedIdentities:")
	for i := range scaleIdentities {
		fmt.Fprintf(&b, "  - name: i%d\n", i)
		if !full {
			continue
		}
		fmt.Fprintln(&b, "    federatedCredentials:")
		for n := range scaleAccounts {
			for c := range scaleClusters {
				issuer := fmt.Sprintf("https://c%d.example.com/", c)
				fmt.Fprintf(&b, "      - {name: %s, issuer: %q, subject: \"system:serviceaccount:shop:%s\"}\n",
					federation.ManagedCredentialName("shop", scaleAccount(i, n), issuer), issuer, scaleAccount(i, n))
			}
		}
	}
	return b.String()
}

func plan(t testing.TB, c *federation.Client, text []byte) federation.Plan {
	t.Helper()
	file, err := federation.Read("scale", text)
	if err != nil {
		t.Fatal(err)
	}
	targets, err := c.Targets(t.Context(), file, audience)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := file.Plan(targets, federation.Prune)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// BenchmarkPlan is a whole plan of 3,000 credentials that are all there, over
// HTTPS to the emulator, which gives them in pages of three.
func BenchmarkPlan(b *testing.B) {
	s := emulatortest.Start(b, emulator.Config{Seed: []byte(operatorSeed() + scaleSeed(true))})
	where, _ := azure.OneOrigin(s.AuthorityURL)
	config := azure.Config{
		TenantID: emulator.DefaultTenantID, ClientID: emulator.DefaultOperatorID, ClientSecret: emulator.DefaultOperatorSecret,
		Cloud: where, HTTP: s.Client(),
	}
	signIn, err := azure.New(config)
	if err != nil {
		b.Fatal(err)
	}
	credential, err := signIn.Credential()
	if err != nil {
		b.Fatal(err)
	}
	c := federation.NewClient(federation.Config{ARM: arm.New(arm.Config{Credential: credential, Options: config.ClientOptions()})})
	text := scaleFile()
	for b.Loop() {
		if p := plan(b, c, text); len(p.Changes) != 0 {
			b.Fatalf("%d changes", len(p.Changes))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/plan")
}

// limits are what Azure takes of requests for federated credentials, a second: in
// a tenant, in a subscription, on an identity.
// Source: https://learn.microsoft.com/entra/workload-id/workload-identity-federation-considerations
type limits struct {
	mu      sync.Mutex
	next    map[string]time.Time
	refused int
}

// take answers 0, or how long until such a request is taken.
func (l *limits) take(kind, identity string, tenant, subscription, resource float64) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	rates := map[string]float64{kind + "tenant": tenant, kind + "subscription": subscription, kind + identity: resource}
	var wait time.Duration
	for key := range rates {
		wait = max(wait, time.Until(l.next[key]))
	}
	if wait > 0 {
		l.refused++
		return wait
	}
	for key, rate := range rates {
		l.next[key] = time.Now().Add(time.Duration(float64(time.Second) / rate))
	}
	return 0
}

func (l *limits) check(r *http.Request) *http.Response {
	identity, _, ok := strings.Cut(r.URL.Path, "/federatedIdentityCredentials")
	if !ok {
		return nil
	}
	var wait time.Duration
	switch {
	case r.Method == http.MethodPut || r.Method == http.MethodDelete:
		wait = l.take(r.Method, identity, 10, 2, 0.25)
	case r.URL.Query().Get("$skiptoken") == "": // Azure's page holds all
		wait = l.take(r.Method, identity, 15, 5, 0.25)
	}
	if wait == 0 {
		return nil
	}
	after := strconv.Itoa(int(math.Ceil(wait.Seconds())))
	return response(r, http.StatusTooManyRequests, http.Header{"Retry-After": {after}}, `{"error":{"code":"TooManyRequests","message":"slow down"}}`)
}

// throttled is a cloud with Azure's limits, and its usual time for an answer.
type throttled struct {
	*cloud
	limits *limits
}

const scaleLatency = 200 * time.Millisecond

func (c *throttled) Do(r *http.Request) (*http.Response, error) {
	if !strings.Contains(r.URL.Path, "/federatedIdentityCredentials") {
		return c.RoundTrip(r) // signing in: the client holds a mutex meanwhile, which would stop time here
	}
	time.Sleep(scaleLatency) //nolint:forbidigo // the bubble's time
	if resp := c.limits.check(r); resp != nil {
		return resp, nil
	}
	rec := httptest.NewRecorder()
	c.ServeHTTP(rec, r)
	return rec.Result(), nil
}

// How long plan and apply take at Azure's limits, on a simulated clock. The limits
// alone allow 2 writes a second.
func TestApplyAtAzuresLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &throttled{start(t, scaleSeed(false)), &limits{next: map[string]time.Time{}}}
		config := c.config
		config.HTTP = c
		signIn, err := azure.New(config)
		if err != nil {
			t.Fatal(err)
		}
		credential, err := signIn.Credential()
		if err != nil {
			t.Fatal(err)
		}
		client := federation.NewClient(federation.Config{ARM: arm.New(arm.Config{Credential: credential, Options: config.ClientOptions()})})
		began := time.Now()
		p := plan(t, client, scaleFile())
		planned := time.Since(began)
		reads := c.limits.refused
		began = time.Now()
		made := 0
		if err := client.Apply(t.Context(), p, func(_ federation.Change, err error) {
			if err == nil {
				made++
			}
		}); err != nil {
			t.Fatal(err)
		}
		applied := time.Since(began)
		t.Logf("at Azure's limits, simulated: plan of %d identities %s (%d requests refused with 429), apply of %d credentials %s (%d refused)",
			scaleIdentities, planned.Round(time.Second), reads, made, applied.Round(time.Second), c.limits.refused-reads)
		// 2 writes a second are what a subscription is allowed. Azwi asks as often as it
		// is told to, and loses some of them.
		if least := scaleWrites / 2 * time.Second; made != scaleWrites || applied < least || applied > 2*least {
			t.Errorf("%d made in %v, want %d in about %v", made, applied, scaleWrites, least)
		}
	})
}
