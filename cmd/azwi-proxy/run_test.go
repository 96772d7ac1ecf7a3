package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A served is a proxy that runs.
type served struct {
	URL, Metrics    string
	port, tokenFile string
	stop            func()
	ended           <-chan error
	// messages are those of the log, after "serving".
	messages <-chan string
}

// start runs serve on free ports, in front of an Entra that is the test's.
func start(t *testing.T, token http.HandlerFunc, args ...string) served {
	t.Helper()
	entra := httptest.NewTLSServer(token)
	t.Cleanup(entra.Close)
	dir := t.TempDir()
	ca, tokenFile := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "token")
	for name, content := range map[string][]byte{
		ca:        pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: entra.Certificate().Raw}),
		tokenFile: []byte("e30.e30.x"),
	} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o, err := parse(append([]string{"--proxy-port=0", "--metrics-addr=127.0.0.1:0", "--ca-file=" + ca, "--block-imds"}, args...),
		environment("AZURE_AUTHORITY_HOST="+entra.URL, "AZURE_FEDERATED_TOKEN_FILE="+tokenFile), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan map[string]any, 100)
	logger := slog.New(slog.NewJSONHandler(writer(func(line []byte) {
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			t.Errorf("log: %s: %v", line, err)
		}
		lines <- m
	}), nil))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	messages := make(chan string, 100)
	go func() {
		ended <- serve(ctx, o, logger)
		close(lines)
	}()
	for line := range lines {
		if line["msg"] != "serving" {
			continue
		}
		go func() {
			defer close(messages)
			for line := range lines {
				messages <- line["msg"].(string)
			}
		}()
		addr := line["addr"].(string)
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		return served{URL: "http://" + addr, Metrics: "http://" + line["metrics"].(string), port: port, tokenFile: tokenFile, stop: stop, ended: ended, messages: messages}
	}
	t.Fatal(<-ended)
	return served{}
}

// A writer gets what a logger writes, a line at a time.
type writer func([]byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}

// An answer is what a client sees.
type answer struct {
	Status int
	Body   string
}

func get(t *testing.T, url string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Metadata", "true")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Error(err)
		return answer{}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return answer{resp.StatusCode, string(body)}
}

const tokenPath = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=r"

// grant answers as Entra does.
func grant(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, `{"token_type":"Bearer","expires_in":3600,"access_token":"granted"}`)
}

func TestServe(t *testing.T) {
	t.Parallel()
	type exchange struct{ Path, Client, Assertion, Scope string }
	exchanges := make(chan exchange, 10)
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		exchanges <- exchange{r.URL.Path, r.FormValue("client_id"), r.FormValue("client_assertion"), r.FormValue("scope")}
		grant(w, r)
	})
	for _, path := range []string{"/healthz", "/readyz"} {
		if diff := cmp.Diff(answer{200, "ok\n"}, get(t, s.URL+path)); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
	for range 2 { // the second one from the cache
		got := get(t, s.URL+tokenPath)
		if got.Status != http.StatusOK {
			t.Errorf("status %d", got.Status)
		}
		if !strings.Contains(got.Body, `"access_token":"granted","client_id":"web-client"`) {
			t.Errorf("answer %s", got.Body)
		}
	}
	if diff := cmp.Diff(exchange{"/tenant/oauth2/v2.0/token", "web-client", "e30.e30.x", "r/.default"}, <-exchanges); diff != "" {
		t.Error(diff)
	}
	if len(exchanges) > 0 {
		t.Error("asked again for a token that is there")
	}
	if got := get(t, s.URL+"/metadata/instance"); got.Status != http.StatusNotFound {
		t.Errorf("--block-imds: %d", got.Status)
	}
	metrics := get(t, s.Metrics+"/metrics").Body
	for _, want := range []string{
		`azwi_proxy_requests_total{outcome="ok"} 2`, `azwi_proxy_requests_total{outcome="blocked"} 1`,
		"azwi_proxy_exchange_duration_seconds_count 1", "azwi_proxy_token_expiry_seconds 36",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in\n%s", want, metrics)
		}
	}
	var probe bytes.Buffer
	if code := run([]string{"--probe", "--proxy-port=" + s.port, "--wait-for-token=1m", "--wait-for-resource=r"}, environment(), io.Discard, &probe); code != 0 {
		t.Errorf("probe: exit code %d, %s", code, &probe)
	}
	s.stop()
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
	last := ""
	for m := range s.messages {
		last = m
	}
	if last != "ended" {
		t.Errorf("the last message is %q", last)
	}
}

// Who asked before the end still gets the token, though it comes after it.
func TestStopWaits(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}), make(chan struct{})
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-release
		grant(w, r)
	})
	got := make(chan answer, 1)
	go func() { got <- get(t, s.URL+tokenPath) }()
	<-asked
	s.stop()
	select {
	case err := <-s.ended:
		t.Errorf("ended with a request under way: %v", err)
	default:
	}
	close(release)
	if a := <-got; a.Status != http.StatusOK {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
}

// Readiness is about the token file as it is now.
func TestReady(t *testing.T) {
	t.Parallel()
	s := start(t, grant)
	defer s.stop()
	for _, tt := range []struct {
		content string
		status  int
	}{{"e30.e30.x", 200}, {"", 503}, {"no token", 503}, {"e30.e30.y\n", 200}} {
		if err := os.WriteFile(s.tokenFile, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := get(t, s.URL+"/readyz"); got.Status != tt.status {
			t.Errorf("%q: %d %s, want %d", tt.content, got.Status, got.Body, tt.status)
		}
	}
}

func TestCannotServe(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	_, port, err := net.SplitHostPort(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		args   []string
		getenv func(string) string
		want   string
	}{
		{"port taken", []string{"--proxy-port=" + port}, environment(), "address already in use"},
		{"metrics port taken", []string{"--proxy-port=0", "--metrics-addr=" + taken.Addr().String()}, environment(), "listen for metrics: "},
		{"no CA file", []string{"--ca-file=/does/not/exist"}, environment(), "/does/not/exist"},
		{"authority without TLS", nil, environment("AZURE_AUTHORITY_HOST=http://login.microsoftonline.com"), "it must be a URL such as https://login.microsoftonline.com/"},
		{"half an identity binding", nil, environment("AZURE_KUBERNETES_SNI_NAME=s"), "AZURE_KUBERNETES_TOKEN_PROXY is not set"},
		{"probe without a proxy", []string{"--probe", "--proxy-port=1", "--probe-timeout=1ms"}, environment(), "the proxy is not ready: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var errs bytes.Buffer
			if code := run(tt.args, tt.getenv, io.Discard, &errs); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			if !strings.Contains(errs.String(), tt.want) {
				t.Errorf("got %q, want %q", &errs, tt.want)
			}
		})
	}
}
