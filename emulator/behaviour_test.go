package emulator_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"azwi/emulator"
	"azwi/emulator/emulatortest"
)

// A client that asks before the credential has spread makes a replica remember
// the miss, and waits for minutes instead of seconds.
func TestAskingTooEarly(t *testing.T) {
	t.Parallel()
	issuer := emulatortest.NewIssuer(t)
	seed := managed + "managedIdentities: [{name: pod, clientId: " + identityID + "}]\nreplication: {replicas: 1, minDelay: 5s, maxDelay: 5s, missMemory: 10m}\n"
	now := time.Now() // stands still, so that only Advance moves it
	cloud := emulatortest.Start(t, emulator.Config{Seed: []byte(seed), Now: func() time.Time { return now }})
	s := operator(t, cloud, armResource)
	fics := identitiesPath + "/pod/federatedIdentityCredentials"
	ask := func(account string) tokenAnswer {
		return post(t, cloud, v2Token, exchange(identityID, issuer.Token(t, "default", account, nil)))
	}
	var status struct {
		Ready       bool      `json:"ready"`
		TrueReadyAt time.Time `json:"trueReadyAt"`
	}
	s.want(t, 201, "", "PUT", fics+"/patient"+version, ficBody(issuer.URL, "system:serviceaccount:default:patient", "api://AzureADTokenExchange"))
	s.want(t, 201, "", "PUT", fics+"/hasty"+version, ficBody(issuer.URL, "system:serviceaccount:default:hasty", "api://AzureADTokenExchange"))
	if got := ask("hasty"); got.Status != 401 || got.Codes[0] != 70025 {
		t.Fatalf("too early: %+v", got)
	}
	cloud.Admin(t, http.MethodGet, "/replication/"+identityID, nil, &status)
	if want := now.Add(10 * time.Minute); status.Ready || !status.TrueReadyAt.Equal(want) {
		t.Errorf("status %+v, want ready at %v", status, want)
	}
	cloud.Advance(6 * time.Second)
	if got := ask("patient"); got.Status != 200 {
		t.Errorf("patient: %+v", got)
	}
	if got := ask("hasty"); got.Status != 401 || got.Codes[0] != 70025 {
		t.Errorf("hasty while the miss is remembered: %+v", got)
	}
	cloud.Advance(10*time.Minute - 6*time.Second)
	if got := ask("hasty"); got.Status != 200 {
		t.Errorf("hasty at last: %+v", got)
	}
	cloud.Admin(t, http.MethodGet, "/replication/"+identityID, nil, &status)
	if !status.Ready {
		t.Errorf("status %+v", status)
	}
}

// 24 hours pass in milliseconds.
func TestVirtualClock(t *testing.T) {
	t.Parallel()
	issuer := emulatortest.NewIssuer(t)
	cloud := emulatortest.Start(t, emulator.Config{Seed: []byte(federated(issuer.URL))})
	got := post(t, cloud, v2Token, exchange(identityID, issuer.Token(t, "default", "web", nil)))
	secret := cloud.VaultURL("emulator") + "/secrets/greeting?api-version=7.5"
	if status, _ := get(t, cloud, secret, got.AccessToken); status != 200 {
		t.Fatalf("at once: %d", status)
	}
	cloud.Admin(t, http.MethodPost, "/clock", map[string]string{"advance": "23h59m"}, nil)
	if status, _ := get(t, cloud, secret, got.AccessToken); status != 200 {
		t.Errorf("after almost a day: %d", status)
	}
	cloud.Admin(t, http.MethodPost, "/clock", map[string]string{"advance": "2m"}, nil)
	if status, answer := get(t, cloud, secret, got.AccessToken); status != 401 {
		t.Errorf("after a day: %d %v", status, answer)
	}
}

// Lifetimes differ by kind of client, and no two answers are the same.
func TestTokenLifetimes(t *testing.T) {
	t.Parallel()
	issuer := emulatortest.NewIssuer(t)
	cloud := emulatortest.Start(t, emulator.Config{Seed: []byte(federated(issuer.URL))})
	seen := map[any]bool{}
	for range 8 {
		got := post(t, cloud, v2Token, exchange(webAppID, issuer.Token(t, "default", "web", nil)))
		seconds, err := got.ExpiresIn.Int64()
		if err != nil || seconds < 3599 || seconds > 5399 || got.RefreshIn != "" {
			t.Errorf("application's token: %+v", got)
		}
		claims := claimsOf(t, got.AccessToken)
		seen[claims["uti"]] = true
		iat, _ := claims["iat"].(float64)
		exp, _ := claims["exp"].(float64)
		if int64(exp-iat) != seconds+1 {
			t.Errorf("exp-iat is %v, expires_in %d", exp-iat, seconds)
		}
	}
	if len(seen) != 8 {
		t.Errorf("%d different uti, want 8", len(seen))
	}
	// Version 1 writes numbers as strings and names the resource.
	form := exchange(identityID, issuer.Token(t, "default", "web", nil))
	form.Set("resource", "https://vault.azure.net/")
	got := post(t, cloud, emulator.DefaultTenantID+"/oauth2/token", form)
	if got.Status != 200 || got.Resource != "https://vault.azure.net/" || got.ExpiresIn != "86399" {
		t.Errorf("version 1: %+v", got)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	cloud := emulatortest.Start(t, emulator.Config{Seed: []byte(managed), RandomSeed: 1})
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {emulator.DefaultOperatorID}, "client_secret": {emulator.DefaultOperatorSecret},
		"scope": {vaultResource + "/.default"},
	}
	set := func(text string) {
		t.Helper()
		if err := cloud.SetFaults([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	set(`{"faults":[{"name":"busy","service":"authority","path":"*/token","status":429,"retryAfter":"1500ms","times":1}]}`)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, cloud.AuthorityURL+v2Token, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	client := cloud.Client()
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "2" || !bytes.Contains(body, []byte("AADSTS90055")) {
		t.Errorf("throttled: %d %v %s", resp.StatusCode, resp.Header, body)
	}
	if got := post(t, cloud, v2Token, form); got.Status != 200 {
		t.Errorf("after once: %+v", got)
	}
	set("faults:\n- {service: authority, status: 503, after: 1m, for: 1m}\n")
	for _, want := range []int{200, 503, 200} {
		if got := post(t, cloud, v2Token, form); got.Status != want {
			t.Errorf("window: %d, want %d", got.Status, want)
		}
		cloud.Advance(time.Minute)
	}
	set("faults:\n- {service: authority, status: 500, share: 0.5}\n")
	hits := 0
	for range 100 {
		if got := post(t, cloud, v2Token, form); got.Status == 500 {
			hits++
		}
	}
	if hits < 30 || hits > 70 {
		t.Errorf("%d of 100 requests were hit, want about half", hits)
	}
	// A client's reaction to one certain error.
	set("faults:\n- {service: authority, status: 400, code: '53003', message: Access has been blocked.}\n- {service: vault, status: 405, code: Odd, message: Not here.}\n")
	if got := post(t, cloud, v2Token, form); got.Status != 400 || got.Codes[0] != 53003 || !strings.HasPrefix(got.Description, "AADSTS53003: Access has been blocked. Trace ID: ") {
		t.Errorf("chosen code: %+v", got)
	}
	session{cloud, ""}.want(t, 405, "Odd", "GET", "/vaults/emulator/secrets?api-version=7.5", "")
	cloud.Admin(t, http.MethodPut, "/faults", map[string]any{"faults": []any{}}, nil)
	if got := post(t, cloud, v2Token, form); got.Status != 200 {
		t.Errorf("without faults: %+v", got)
	}
	set("faults:\n- {path: '*/openid-configuration', cut: true}\n- {path: '*/token', delay: 150ms}\n")
	get, err := http.NewRequestWithContext(t.Context(), http.MethodGet, cloud.AuthorityURL+emulator.DefaultTenantID+"/v2.0/.well-known/openid-configuration", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := client.Do(get); err == nil {
		resp.Body.Close()
		t.Errorf("cut connection: %d", resp.StatusCode)
	}
	started := time.Now()
	if got := post(t, cloud, v2Token, form); got.Status != 200 || time.Since(started) < 150*time.Millisecond {
		t.Errorf("slow: %d after %v", got.Status, time.Since(started))
	}
	for _, bad := range []string{"faults: [{status: 200}]", "faults: [{}]", "faults: [{share: 2, status: 500}]", "faults: [{issuer: x, cut: true}]", "faults: [{cut: true, code: x}]", "faults: [{service: authority, status: 400, code: x}]", "x"} {
		if err := cloud.SetFaults([]byte(bad)); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}

func TestIssuerDown(t *testing.T) {
	t.Parallel()
	issuer := emulatortest.NewIssuer(t)
	cloud := emulatortest.Start(t, emulator.Config{Seed: []byte(federated(issuer.URL)), Faults: []byte("faults: [{issuer: '" + issuer.URL + "', times: 1}]")})
	form := exchange(identityID, issuer.Token(t, "default", "web", nil))
	if got := post(t, cloud, v2Token, form); got.Status != 400 || got.Codes[0] != 50166 {
		t.Errorf("down: %+v", got)
	}
	if got := post(t, cloud, v2Token, form); got.Status != 200 {
		t.Errorf("up again: %+v", got)
	}
}

// An assertion must not make the emulator fetch from anywhere its author likes.
func TestForeignIssuerIsNotFetched(t *testing.T) {
	t.Parallel()
	issuer := emulatortest.NewIssuer(t)
	issuer.URL = "https://192.0.2.1"
	cloud := emulatortest.Start(t, emulator.Config{Seed: []byte(federated(issuer.URL))})
	started := time.Now()
	got := post(t, cloud, v2Token, exchange(identityID, issuer.Token(t, "default", "web", nil)))
	if got.Codes[0] != 50166 || time.Since(started) > 4*time.Second {
		t.Errorf("after %v: %+v", time.Since(started), got)
	}
}

func TestVault(t *testing.T) {
	t.Parallel()
	issuer := emulatortest.NewIssuer(t)
	cloud := emulatortest.Start(t, emulator.Config{Seed: []byte(federated(issuer.URL))})
	pod := post(t, cloud, v2Token, exchange(identityID, issuer.Token(t, "default", "web", nil))).AccessToken
	app := post(t, cloud, v2Token, exchange(webAppID, issuer.Token(t, "default", "web", nil))).AccessToken
	base := cloud.VaultURL("emulator")
	for _, tt := range []struct {
		name, method, path, token string
		want                      int
	}{
		{"secret", "GET", "/secrets/greeting?api-version=7.5", pod, 200},
		{"other case", "GET", "/secrets/GREETING?api-version=7.5", pod, 200},
		{"missing", "GET", "/secrets/none?api-version=7.5", pod, 404},
		{"no version", "GET", "/secrets/greeting", pod, 400},
		{"odd version", "GET", "/secrets/greeting?api-version=8", pod, 400},
		{"later version", "GET", "/secrets/greeting?api-version=2026-04-01", pod, 200},
		{"no token", "GET", "/secrets/greeting?api-version=7.5", "", 401},
		{"no role", "GET", "/secrets/greeting?api-version=7.5", app, 403},
		{"user may not write", "PUT", "/secrets/greeting?api-version=7.5", pod, 403},
		{"keys", "GET", "/keys?api-version=7.5", pod, 404},
	} {
		body := ""
		if tt.method == "PUT" {
			body = `{"value":"x"}`
		}
		if status, answer := call(t, cloud, tt.method, base+tt.path, tt.token, body); status != tt.want {
			t.Errorf("%s: %d, want %d: %v", tt.name, status, tt.want, answer)
		}
	}
	if status, _ := get(t, cloud, cloud.VaultURL("none")+"/secrets?api-version=7.5", pod); status != 404 {
		t.Errorf("unknown vault: %d", status)
	}
}

func TestDirectoryKeepsState(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Now()
	open := func() (*emulator.Emulator, error) {
		return emulator.New(emulator.Config{Dir: dir, Seed: []byte(managed), Now: func() time.Time { return now }})
	}
	first, err := open()
	if err != nil {
		t.Fatal(err)
	}
	first.Advance(time.Hour)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := open()
	if err != nil {
		t.Fatal(err)
	}
	if got := second.Now().Sub(now); got != time.Hour {
		t.Errorf("the clock is %v ahead", got)
	}
	if !bytes.Equal(first.CA(), second.CA()) {
		t.Error("the CA is another one")
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	third, err := emulator.New(emulator.Config{Dir: dir, Seed: []byte(managed + atOnce), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil || !strings.Contains(log.String(), "the seed has changed since the state was made") {
		t.Fatalf("another seed: %v, log %s", err, log.String())
	}
	if err := third.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("files %v, %v", files, err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", f, info, err)
		}
	}
	// Damaged in any way, it is reported and left alone.
	good, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, damaged := range [][]byte{{}, []byte("{}"), good[:len(good)/2], bytes.Replace(good, []byte(`"version":1`), []byte(`"version":9`), 1), []byte(`{"version":1}`)} {
		path := filepath.Join(dir, "state.json")
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if e, err := open(); err == nil {
			t.Errorf("%.20q is accepted", damaged)
			_ = e.Close()
		} else if !strings.Contains(err.Error(), "damaged") || !strings.Contains(err.Error(), path) {
			t.Errorf("%.20q: %v", damaged, err)
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, damaged) {
			t.Errorf("the damaged file was changed")
		}
	}
}

// A signing key survives a restart, so tokens do.
func TestTokensSurviveRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var token string
	for range 2 {
		t.Run("run", func(t *testing.T) {
			cloud := emulatortest.Start(t, emulator.Config{Dir: dir})
			if token == "" {
				token = operator(t, cloud, vaultResource).token
			}
			if status, answer := get(t, cloud, cloud.VaultURL(emulator.DefaultVault)+"/secrets/greeting?api-version=7.5", token); status != 200 {
				t.Errorf("%d %v", status, answer)
			}
		})
	}
}

// Neither the journal nor the log nor the state view shows a secret.
func TestNothingSecretIsShown(t *testing.T) {
	t.Parallel()
	issuer := emulatortest.NewIssuer(t)
	var log lockedBuffer
	cloud := emulatortest.Start(t, emulator.Config{Seed: []byte(federated(issuer.URL)), Logger: slog.New(slog.NewJSONHandler(&log, nil))})
	assertion := issuer.Token(t, "default", "web", nil)
	got := post(t, cloud, v2Token, exchange(identityID, assertion))
	_, _ = get(t, cloud, cloud.VaultURL("emulator")+"/secrets/greeting?api-version=7.5", got.AccessToken)
	form := exchange(webAppID, assertion)
	form.Del("client_assertion")
	form.Set("client_secret", webSecret)
	post(t, cloud, v2Token, form)
	call(t, cloud, "PUT", cloud.VaultURL("emulator")+"/secrets/greeting?api-version=7.5", got.AccessToken, `{"value":"secret value"}`)
	post(t, cloud, v2Token, exchange(webAppID, issuer.Token(t, "default", "other", nil)))

	var requests struct {
		Requests []struct {
			Path      string              `json:"path"`
			Form      map[string][]string `json:"form"`
			Assertion map[string]any      `json:"assertion"`
			Code      string              `json:"code"`
		} `json:"requests"`
	}
	var raw json.RawMessage
	cloud.Admin(t, http.MethodGet, "/requests", nil, &raw)
	if err := json.Unmarshal(raw, &requests); err != nil {
		t.Fatal(err)
	}
	if len(requests.Requests) != 5 {
		t.Fatalf("%d requests", len(requests.Requests))
	}
	first, last := requests.Requests[0], requests.Requests[4]
	if first.Assertion["sub"] != "system:serviceaccount:default:web" || first.Form["client_id"][0] != identityID || last.Code != "AADSTS700213" {
		t.Errorf("requests: %+v and %+v", first, last)
	}
	var state json.RawMessage
	cloud.Admin(t, http.MethodGet, "/state", nil, &state)
	shown := log.String() + string(raw) + string(state)
	for name, secret := range map[string]string{
		"assertion": assertion, "signature": assertion[strings.LastIndex(assertion, ".")+1:], "access token": got.AccessToken,
		"client secret": webSecret, "new secret": "secret value", "vault secret": "hello", "admin token": cloud.AdminToken(),
	} {
		if strings.Contains(shown, secret) {
			t.Errorf("the %s is shown", name)
		}
	}
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestAdminIsGuarded(t *testing.T) {
	t.Parallel()
	cloud := emulatortest.Start(t, emulator.Config{})
	for _, tt := range []struct {
		name, host, token string
		want              int
	}{
		{"good", "", cloud.AdminToken(), 200},
		{"no token", "", "", 401},
		{"wrong token", "", "x", 401},
		{"rebound name", "evil.example", cloud.AdminToken(), 421},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, cloud.AdminURL+"/state", nil)
		if err != nil {
			t.Fatal(err)
		}
		if tt.host != "" {
			req.Host = tt.host
		}
		if tt.token != "" {
			req.Header.Set("Authorization", "Bearer "+tt.token)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, resp.StatusCode, tt.want)
		}
	}
	// Reset puts the seed back.
	s := operator(t, cloud, armResource)
	s.want(t, 201, "", "PUT", identitiesPath+"/web"+version, `{"location":"westeurope"}`)
	cloud.Admin(t, http.MethodPost, "/reset", nil, nil)
	s.want(t, 404, "ResourceNotFound", "GET", identitiesPath+"/web"+version, "")
}

func TestProxy(t *testing.T) {
	t.Parallel()
	seed := managed + "managedIdentities: [{name: vm, clientId: " + identityID + ", imds: true}, {name: elsewhere}]\n"
	cloud := emulatortest.Start(t, emulator.Config{Seed: []byte(seed)})
	client := cloud.ProxyClient(t)
	defer client.CloseIdleConnections()
	fetch := func(rawURL string, metadata bool) (int, string, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, rawURL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if metadata {
			req.Header.Set("Metadata", "true")
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body), err
	}
	for _, host := range []string{"login.microsoftonline.com", "login.windows.net", "login.microsoftonline.us", "login.chinacloudapi.cn"} {
		status, body, err := fetch("https://"+host+"/"+emulator.DefaultTenantID+"/v2.0/.well-known/openid-configuration", false)
		if want := `"token_endpoint":"https://` + host + "/"; err != nil || status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %v %s", host, status, err, body)
		}
	}
	for rawURL, want := range map[string]int{
		"https://management.azure.com/subscriptions?api-version=2022-12-01":         401,
		"https://management.usgovcloudapi.net/subscriptions?api-version=2022-12-01": 401,
		"https://graph.microsoft.com/v1.0/applications":                             401,
		"https://microsoftgraph.chinacloudapi.cn/v1.0/applications":                 401,
		"https://emulator.vault.azure.net/secrets?api-version=7.5":                  401,
		"https://emulator.vault.azure.cn/secrets?api-version=7.5":                   401,
		"https://account.blob.core.windows.net/container":                           502,
		"http://169.254.169.254/metadata/identity/oauth2/token":                     400,
		"http://example.com/": 403,
		"http://169.254.169.254:8080/metadata/identity/oauth2/token?resource=x":       403,
		"https://login.microsoftonline.com/common/discovery/instance?api-version=1.1": 200,
	} {
		if status, body, err := fetch(rawURL, false); err != nil || status != want {
			t.Errorf("%s: %d %v %s, want %d", rawURL, status, err, body, want)
		}
	}
	if _, _, err := fetch("https://example.com/", false); err == nil || !strings.Contains(err.Error(), "Forbidden") {
		t.Errorf("other hosts: %v", err)
	}
	const imds = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net"
	for query, want := range map[string]int{"": 200, "&client_id=" + identityID: 200, "&client_id=" + readerID: 400, "&msi_res_id=" + identitiesPath + "/vm": 200, "&mi_res_id=" + identitiesPath + "/elsewhere": 400} {
		status, body, err := fetch(imds+query, true)
		if err != nil || status != want {
			t.Errorf("metadata service %s: %d %v %s", query, status, err, body)
		}
		var answer map[string]string // all values are strings
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			t.Errorf("metadata service: %v in %s", err, body)
		}
	}
}

// Names that are not served are refused, so that no web page reaches the
// emulator by rebinding a name to loopback.
func TestUnknownHostIsRefused(t *testing.T) {
	t.Parallel()
	cloud := emulatortest.Start(t, emulator.Config{Hosts: []string{"emulator.test"}})
	client := cloud.Client()
	defer client.CloseIdleConnections()
	for host, want := range map[string]int{"evil.example": 421, "emulator.test": 200, "login.microsoftonline.com": 200} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, cloud.AuthorityURL+"common/discovery/instance", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", host, resp.StatusCode, want)
		}
	}
}

// The custom token endpoint of identity bindings puts a prefix before every path
// and keeps the authority's own Host.
func TestPathPrefix(t *testing.T) {
	t.Parallel()
	issuer := emulatortest.NewIssuer(t)
	cloud := emulatortest.Start(t, emulator.Config{Seed: []byte(federated(issuer.URL))})
	if got := post(t, cloud, "some/prefix/"+v2Token, exchange(identityID, issuer.Token(t, "default", "web", nil))); got.Status != 200 {
		t.Errorf("%+v", got)
	}
}

// The private parts of the configuration come from the seed's own folder.
func TestIssuersFromSeed(t *testing.T) {
	t.Parallel()
	issuer := emulatortest.NewIssuer(t)
	published := issuer.URL
	issuer.URL = "https://kubernetes.default.svc"
	dir := t.TempDir()
	jwks, err := json.Marshal(issuer.JWKS())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "jwks.json"), jwks, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string]string{"file": "file: jwks.json", "url": "url: " + published + "/openid/v1/jwks"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := federated(issuer.URL) + fmt.Sprintf("issuers: {%q: {%s}}\n", issuer.URL, source)
			cloud := emulatortest.Start(t, emulator.Config{Seed: []byte(seed), SeedName: filepath.Join(dir, "seed.yaml")})
			if got := post(t, cloud, v2Token, exchange(identityID, issuer.Token(t, "default", "web", nil))); got.Status != 200 {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]emulator.Config{
		"seed":    {Seed: []byte("x: y")},
		"faults":  {Faults: []byte("x: y")},
		"azurite": {Azurite: "here"},
		"dir":     {Dir: filepath.Join(t.TempDir(), "missing")},
	} {
		if e, err := emulator.New(c); err == nil {
			t.Errorf("%s: no error", name)
			_ = e.Close()
		} else if errors.Unwrap(err) == nil && name != "azurite" {
			t.Errorf("%s: %v is not wrapped", name, err)
		}
	}
}

// Requests for blob hosts go to Azurite with their Host, by which it knows the
// account.
func TestBlobsAreForwarded(t *testing.T) {
	t.Parallel()
	azurite := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Host, r.URL.Path)
	}))
	t.Cleanup(azurite.Close)
	cloud := emulatortest.Start(t, emulator.Config{Azurite: azurite.URL})
	client := cloud.ProxyClient(t)
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://account.blob.core.windows.net/container/blob", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "account.blob.core.windows.net/container/blob" {
		t.Errorf("got %q, %v", body, err)
	}
}

// An application's own API verifies tokens with the published keys alone.
func TestTokensVerifyWithPublishedKeys(t *testing.T) {
	t.Parallel()
	cloud := emulatortest.Start(t, emulator.Config{})
	_, configuration := get(t, cloud, cloud.AuthorityURL+emulator.DefaultTenantID+"/v2.0/.well-known/openid-configuration", "")
	jwks := text(t, configuration, "jwks_uri")
	_, published := get(t, cloud, jwks, "")
	raw, err := json.Marshal(published)
	if err != nil {
		t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(raw, &set); err != nil { // checks x5c and x5t against the key
		t.Fatal(err)
	}
	token, err := jose.ParseSignedCompact(operator(t, cloud, armResource).token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		t.Fatal(err)
	}
	header := token.Signatures[0].Protected
	keys := set.Key(header.KeyID)
	if len(keys) != 1 || header.ExtraHeaders["x5t"] != header.KeyID || header.ExtraHeaders["typ"] != "JWT" {
		t.Fatalf("header %+v, %d keys", header, len(keys))
	}
	if _, err := token.Verify(keys[0]); err != nil {
		t.Error(err)
	}
}
