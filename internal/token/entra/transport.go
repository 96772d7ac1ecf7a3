package entra

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"azwi/internal/httpsurl"
)

// A TokenProxy is the custom token endpoint of AKS identity bindings: it stands
// between the program and Entra, and every request goes to it instead.
type TokenProxy struct {
	// URL is https, without user, query or fragment. Empty: there is none, and
	// the other fields must be empty too.
	URL string
	// SNIName is the server name to ask for and to verify. Default: URL's host.
	SNIName string
	// CAFile or CAData hold the PEM certificates to trust instead of the system's.
	// At most one of them. The file is read again for every exchange.
	CAFile, CAData string
}

// parse applies the rules of Azure's SDKs, so that what works there works here.
func (p TokenProxy) parse() (*url.URL, error) {
	if p.URL == "" {
		if p != (TokenProxy{}) {
			return nil, errors.New("AZURE_KUBERNETES_TOKEN_PROXY is not set, but other AZURE_KUBERNETES_ variables are")
		}
		return nil, nil
	}
	u, err := httpsurl.Parse(p.URL)
	if err != nil {
		return nil, errors.New("AZURE_KUBERNETES_TOKEN_PROXY must be an https URL without user, query and fragment")
	}
	if p.CAFile != "" && p.CAData != "" {
		return nil, errors.New("AZURE_KUBERNETES_CA_FILE and AZURE_KUBERNETES_CA_DATA exclude each other")
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u, nil
}

// A transport sends requests to Entra or in its stead to the token proxy, and
// trusts what its CA file holds at that time.
type transport struct {
	config ExchangerConfig
	proxy  *url.URL // the token proxy
	caFile string   // whose certificates to trust
	alone  bool     // trust these, not the system's

	mu      sync.Mutex
	pem     []byte // what current was made from
	current *http.Transport
}

func newTransport(c ExchangerConfig) (*transport, error) {
	proxy, err := c.TokenProxy.parse()
	if err != nil {
		return nil, err
	}
	t := &transport{config: c, proxy: proxy, caFile: c.ExtraCAFile}
	pem := []byte(c.TokenProxy.CAData)
	if proxy != nil && (len(pem) > 0 || c.TokenProxy.CAFile != "") {
		t.caFile, t.alone = c.TokenProxy.CAFile, true
	}
	if t.caFile != "" {
		if pem, err = os.ReadFile(t.caFile); err != nil {
			return nil, fmt.Errorf("CA file: %w", err)
		}
		if len(pem) == 0 {
			return nil, fmt.Errorf("CA file %s is empty", t.caFile)
		}
	}
	t.pem = pem
	t.current, err = t.with(pem)
	return t, err
}

// with makes the real transport.
func (t *transport) with(pem []byte) (*http.Transport, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.proxy != nil {
		config.ServerName = t.config.TokenProxy.SNIName
	}
	if len(pem) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !t.alone {
			system, err := x509.SystemCertPool()
			if err != nil {
				return nil, fmt.Errorf("the system's CA certificates: %w", err)
			}
			config.RootCAs = system
		}
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("the CA bundle holds no PEM certificate")
		}
	}
	// Exchanges are rare: HTTP/1.1 and a short idle time keep what a pod holds
	// for them small.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  t.config.Proxy,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    15 * time.Second,
		Protocols:              protocols,
		DisableKeepAlives:      t.config.NewConnections,
		MaxConnsPerHost:        16,
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        15 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		ReadBufferSize:         4 << 10,
		WriteBufferSize:        4 << 10,
	}, nil
}

// RoundTrip sends a request, which it may change.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.proxy != nil {
		target := t.proxy.JoinPath(r.URL.EscapedPath())
		target.RawQuery = r.URL.RawQuery
		r.Host, r.URL = r.URL.Host, target // Host stays Entra's
	}
	return t.latest().RoundTrip(r)
}

// latest is the transport for what the CA file holds now. A file that is gone,
// empty or wrong is probably being replaced: what was good stays in force.
func (t *transport) latest() *http.Transport {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.caFile == "" {
		return t.current
	}
	pem, err := os.ReadFile(t.caFile)
	if err != nil || len(pem) == 0 || bytes.Equal(pem, t.pem) {
		return t.current
	}
	if renewed, err := t.with(pem); err == nil {
		t.current.CloseIdleConnections()
		t.pem, t.current = pem, renewed
	}
	return t.current
}
