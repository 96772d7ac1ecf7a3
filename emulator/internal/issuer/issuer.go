package issuer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"azwi/emulator/internal/hosts"
)

// A Source says where the keys of one issuer really are. Either URL or File is
// set.
type Source struct {
	// URL of the JWKS itself, not of the discovery document.
	URL string
	// CAFile, in PEM, signs URL's certificate. Empty is the system's roots.
	CAFile string
	// File is a JWKS in a file.
	File string
}

// Limits of a fetch.
const (
	fetchTimeout = 5 * time.Second
	maxDocument  = 1 << 20
	// keysLast is how long fetched keys are used, in real time.
	keysLast = 5 * time.Minute
	// missWait is how long an unknown key ID, or a failed fetch, does not lead to
	// another fetch.
	missWait = time.Second
)

// Why there are no keys.
var (
	// ErrUnreachable is an issuer whose documents can't be fetched.
	ErrUnreachable = errors.New("the issuer's documents can't be fetched")
	// ErrKeys is a JWKS that can't be parsed.
	ErrKeys = errors.New("the issuer's keys can't be parsed")
	// ErrUnknownKey is a key ID that the JWKS does not have.
	ErrUnknownKey = errors.New("the issuer has no such key")
)

// Keys is safe for concurrent use.
type Keys struct {
	sources map[string]Source
	down    func(issuer string) bool

	mu    sync.Mutex
	known map[string]*entry
}

type entry struct {
	mu      sync.Mutex // held while fetching, so that one fetch serves all who wait
	keys    map[string]jose.JSONWebKey
	fetched time.Time
	err     error // of the last fetch
}

// New returns an empty cache. down tells which issuers a fault has made
// unreachable; nil is none.
func New(sources map[string]Source, down func(issuer string) bool) *Keys {
	if down == nil {
		down = func(string) bool { return false }
	}
	return &Keys{sources: sources, down: down, known: map[string]*entry{}}
}

// maxIssuers bounds the cache; only issuers of existing federated credentials
// get here.
const maxIssuers = 10000

// Forget drops all fetched keys.
func (k *Keys) Forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.known)
}

// Key returns the key of an issuer with this key ID. If the ID is empty and the
// issuer has one key only, it is that one.
func (k *Keys) Key(ctx context.Context, issuer, kid string) (jose.JSONWebKey, error) {
	if k.down(issuer) {
		return jose.JSONWebKey{}, fmt.Errorf("%w: a fault makes %s unreachable", ErrUnreachable, issuer)
	}
	k.mu.Lock()
	e, ok := k.known[issuer]
	if !ok {
		if len(k.known) >= maxIssuers {
			clear(k.known)
		}
		e = &entry{}
		k.known[issuer] = e
	}
	k.mu.Unlock()

	e.mu.Lock()
	defer e.mu.Unlock()
	age := time.Since(e.fetched)
	key, found := e.find(kid)
	if age > keysLast || (!found && age > missWait) {
		// Not with the first caller's context: others wait for this fetch too.
		e.keys, e.err = k.fetch(context.WithoutCancel(ctx), issuer)
		e.fetched = time.Now()
		key, found = e.find(kid)
	}
	if e.err != nil {
		return jose.JSONWebKey{}, e.err
	}
	if !found {
		return jose.JSONWebKey{}, ErrUnknownKey
	}
	return key, nil
}

func (e *entry) find(kid string) (jose.JSONWebKey, bool) {
	if key, ok := e.keys[kid]; ok {
		return key, true
	}
	if kid == "" && len(e.keys) == 1 {
		for _, key := range e.keys {
			return key, true
		}
	}
	return jose.JSONWebKey{}, false
}

func (k *Keys) fetch(ctx context.Context, issuer string) (map[string]jose.JSONWebKey, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	body, err := k.document(ctx, issuer)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	if len(set.Keys) == 0 {
		return nil, fmt.Errorf("%w: the set is empty", ErrKeys)
	}
	keys := make(map[string]jose.JSONWebKey, len(set.Keys))
	for _, key := range set.Keys {
		if key.IsPublic() && key.Valid() {
			keys[key.KeyID] = key
		}
	}
	return keys, nil
}

// document reads the issuer's JWKS.
func (k *Keys) document(ctx context.Context, issuer string) ([]byte, error) {
	source, ok := k.sources[issuer]
	if ok && source.File != "" {
		return readFile(source.File)
	}
	if ok {
		client, err := newClient(source.CAFile)
		if err != nil {
			return nil, err
		}
		defer client.CloseIdleConnections()
		return get(ctx, client, source.URL)
	}
	client, err := newClient("")
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	if err := loopback(issuer); err != nil {
		return nil, err
	}
	body, err := get(ctx, client, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return nil, err
	}
	var discovery struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(body, &discovery); err != nil {
		return nil, fmt.Errorf("discovery document: %w", err)
	}
	if discovery.Issuer != issuer {
		return nil, fmt.Errorf("discovery document is of issuer %q", discovery.Issuer)
	}
	if err := loopback(discovery.JWKSURI); err != nil {
		return nil, err
	}
	return get(ctx, client, discovery.JWKSURI)
}

// loopback refuses URLs that leave this machine: an assertion must not make the
// emulator ask any host its author likes.
func loopback(rawURL string) error {
	u, err := url.Parse(rawURL)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || !hosts.IsLoopback(u.Host) {
		return fmt.Errorf("%s is not on loopback and has no entry under issuers", rawURL)
	}
	return nil
}

func newClient(caFile string) (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		pem, err := readFile(caFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificate", caFile)
		}
	}
	return &http.Client{
		Timeout:   fetchTimeout,
		Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("redirects are not followed")
		},
	}, nil
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxDocument))
}

func get(ctx context.Context, client *http.Client, rawURL string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: status %d", rawURL, resp.StatusCode)
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxDocument))
}
