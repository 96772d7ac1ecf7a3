package emulatortest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"testing"

	"azwi/emulator"
)

// A Server is a running emulator.
type Server struct {
	*emulator.Emulator
	// AuthorityURL is the direct way in, with a slash at its end as Azure's SDKs
	// want it: https://127.0.0.1:PORT/. Resource Manager and Graph are there too;
	// vaults are at AuthorityURL + "vaults/NAME".
	AuthorityURL string
	// ProxyURL is for HTTPS_PROXY.
	ProxyURL string
	// AdminURL is the management API, without a slash at its end.
	AdminURL string

	pool *x509.CertPool
}

// Start starts an emulator on loopback ports of its own and stops it when the
// test ends.
func Start(t testing.TB, config emulator.Config) *Server {
	t.Helper()
	e, err := emulator.New(config)
	if err != nil {
		t.Fatalf("emulator: %v", err)
	}
	var l emulator.Listeners
	var lc net.ListenConfig
	for _, to := range []*net.Listener{&l.Authority, &l.Proxy, &l.Admin} {
		if *to, err = lc.Listen(t.Context(), "tcp", "127.0.0.1:0"); err != nil {
			t.Fatalf("emulator: %v", err)
		}
	}
	// The test's own context ends before its cleanups, which may still call.
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	served := make(chan error, 1)
	go func() { served <- e.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("emulator: %v", err)
		}
		if err := e.Close(); err != nil {
			t.Errorf("emulator: %v", err)
		}
	})
	s := &Server{
		Emulator:     e,
		AuthorityURL: "https://" + l.Authority.Addr().String() + "/",
		ProxyURL:     "http://" + l.Proxy.Addr().String(),
		AdminURL:     "http://" + l.Admin.Addr().String(),
		pool:         x509.NewCertPool(),
	}
	s.pool.AppendCertsFromPEM(e.CA())
	return s
}

// VaultURL is a vault's address in direct mode.
func (s *Server) VaultURL(name string) string { return s.AuthorityURL + "vaults/" + name }

// Roots trusts the emulator's authority and nothing else.
func (s *Server) Roots() *x509.CertPool { return s.pool.Clone() }

// Client trusts the emulator and reaches it directly, whatever proxy the
// environment names.
func (s *Server) Client() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: s.tls(), ForceAttemptHTTP2: true}}
}

// ProxyClient trusts the emulator and sends everything through its proxy, so
// that Azure's own host names work.
func (s *Server) ProxyClient(t testing.TB) *http.Client {
	t.Helper()
	proxy, err := url.Parse(s.ProxyURL)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: s.tls(), ForceAttemptHTTP2: true, Proxy: http.ProxyURL(proxy)}}
}

func (s *Server) tls() *tls.Config {
	return &tls.Config{RootCAs: s.pool, MinVersion: tls.VersionTLS12}
}

// Admin calls the management API; body and answer may be nil. It fails the test
// on any status but success.
func (s *Server) Admin(t testing.TB, method, path string, body, answer any) {
	t.Helper()
	var text bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&text).Encode(body); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), method, s.AdminURL+path, &text)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.AdminToken())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		t.Fatalf("%s %s: status %d", method, path, resp.StatusCode)
	}
	if answer != nil {
		if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
			t.Fatal(err)
		}
	}
}
