package emulator

import (
	"context"
	crand "crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"azwi/emulator/internal/accesstoken"
	"azwi/emulator/internal/arm"
	"azwi/emulator/internal/certs"
	"azwi/emulator/internal/clock"
	"azwi/emulator/internal/directory"
	"azwi/emulator/internal/fault"
	"azwi/emulator/internal/graph"
	"azwi/emulator/internal/hosts"
	"azwi/emulator/internal/imds"
	"azwi/emulator/internal/issuer"
	"azwi/emulator/internal/journal"
	"azwi/emulator/internal/random"
	"azwi/emulator/internal/replication"
	"azwi/emulator/internal/seed"
	"azwi/emulator/internal/statefile"
	"azwi/emulator/internal/sts"
	"azwi/emulator/internal/vault"
	"azwi/internal/token/entra"
)

// What an emulator without a seed holds. The secret is public: it opens nothing
// but the emulator.
const (
	DefaultTenantID       = seed.TenantID
	DefaultSubscriptionID = seed.SubscriptionID
	DefaultResourceGroup  = seed.GroupName
	// The default operator is a service principal that may do everything.
	DefaultOperatorID     = seed.OperatorID
	DefaultOperatorSecret = seed.OperatorSecret
	// DefaultVault has the secret "greeting".
	DefaultVault = seed.VaultName
)

// Config of an emulator. The zero value is one in memory, with one tenant, one
// subscription, an operator who may do everything and new keys.
type Config struct {
	// Seed is the text of a seed file, YAML or JSON; see docs/emulator.md. Empty
	// is the default seed.
	Seed []byte
	// SeedName stands in errors about the seed, and file names in the seed are
	// relative to its folder. The default is "seed".
	SeedName string
	// Faults is the text of a faults file; empty is none.
	Faults []byte
	// FaultsName stands in errors about the faults. The default is "faults".
	FaultsName string
	// Dir keeps the state across restarts, in files that only their owner can
	// read. It must exist. Empty keeps it in memory.
	Dir string
	// RandomSeed makes what is random repeatable: delays, which replica answers,
	// which request a fault hits, lifetimes. 0 draws one and logs it.
	RandomSeed uint64
	// Hosts are host names and IP addresses beside loopback at which the
	// authority is reached directly. They are added to the certificate.
	Hosts []string
	// Azurite is the URL that requests for blob hosts are forwarded to, for
	// example http://127.0.0.1:10000. Empty refuses them.
	Azurite string
	// AdminToken is the bearer of the management API. Empty makes one.
	AdminToken string
	// Now is the clock; the default is time.Now.
	Now func() time.Time
	// Logger gets requests at level Info, never with tokens or secrets. The
	// default discards.
	Logger *slog.Logger
}

// An Emulator is the local cloud. It is an http.Handler for the direct way in;
// Proxy and Admin are the handlers of the other two ports. It is safe for
// concurrent use.
type Emulator struct {
	config  Config
	log     *slog.Logger
	clock   *clock.Clock
	random  uint64
	ca      *certs.Authority
	cert    tls.Certificate
	journal journal.Journal

	directory *directory.Directory
	replicas  *replication.Model
	issuers   *issuer.Keys
	tokens    *accesstoken.Service
	sts       *sts.Handler
	arm       *arm.Handler
	graph     *graph.Handler
	vault     *vault.Handler
	imds      *imds.Handler
	faults    *fault.Set
	blobs     http.Handler

	saver *saver
	// began is the hash of the seed that the state began with.
	began atomic.Pointer[[32]byte]
}

// New makes an emulator. It reads the state in Config.Dir if there is one; the
// seed's objects are then those of the state, and only issuers and replication
// are taken from the seed. A damaged state is an error, and is left as it is.
func New(config Config) (*Emulator, error) {
	e := &Emulator{config: config, log: config.Logger, clock: clock.New(config.Now), random: config.RandomSeed}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if e.config.AdminToken == "" {
		e.config.AdminToken = randomToken()
	}
	if e.random == 0 {
		e.random = drawSeed()
	}
	start, err := e.readSeed()
	if err != nil {
		return nil, err
	}
	kept, err := e.restore(start)
	if err != nil {
		return nil, err
	}
	if err := e.makeCertificates(); err != nil {
		return nil, err
	}
	e.log.Info("emulator made", "randomSeed", e.random, "restored", kept.Key != nil)

	e.tokens = accesstoken.New(kept.Key, e.clock.Now)
	e.saver = newSaver(e)
	e.directory = directory.New(kept.State, e.saver.changed)
	e.faults = fault.New(random.New(e.random, "fault"), e.clock.Now)
	if err := e.setFaults(e.config.FaultsName, e.config.Faults); err != nil {
		return nil, err
	}
	e.replicas = replication.New(start.Replication, random.New(e.random, "replication"), e.clock.Now)
	e.issuers = issuer.New(start.Issuers, e.faults.Down)
	e.sts = &sts.Handler{
		Directory: e.directory, Replicas: e.replicas, Issuers: e.issuers, Tokens: e.tokens,
		Random: random.New(e.random, "lifetime"), Now: e.clock.Now, Logger: e.log,
	}
	e.arm = &arm.Handler{Directory: e.directory, Replicas: e.replicas, Tokens: e.tokens, Now: e.clock.Now}
	e.graph = &graph.Handler{Directory: e.directory, Replicas: e.replicas, Tokens: e.tokens, Now: e.clock.Now}
	e.vault = &vault.Handler{Directory: e.directory, Tokens: e.tokens, Now: e.clock.Now}
	e.imds = &imds.Handler{Directory: e.directory, STS: e.sts}
	if e.blobs, err = forwardBlobs(e.config.Azurite); err != nil {
		return nil, err
	}
	if e.config.Dir != "" {
		e.saver.start()
	}
	return e, nil
}

func (e *Emulator) readSeed() (*seed.Seed, error) {
	name, text := e.config.SeedName, e.config.Seed
	if name == "" {
		name = "seed"
	}
	if len(text) == 0 {
		text = []byte(seed.Default)
	}
	s, err := seed.Read(name, text, e.clock.Now())
	if err != nil {
		return nil, fmt.Errorf("read seed: %w", err)
	}
	return s, nil
}

// makeCertificates takes the CA from the directory while it lasts, or makes one.
func (e *Emulator) makeCertificates() error {
	names, addrs := hosts.Names(), []net.IP(nil)
	for _, h := range e.config.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			addrs = append(addrs, ip)
		} else {
			names = append(names, h)
		}
	}
	now := time.Now() // clients compare certificates with the real time
	path := filepath.Join(e.config.Dir, caFile)
	var ca certs.Authority
	found := false
	if e.config.Dir != "" {
		err := statefile.Clean(path)
		if err == nil {
			found, err = statefile.ReadJSON(path, &ca)
		}
		if err != nil {
			return err
		}
	}
	e.ca = &ca
	if !found || !ca.Covers(names, addrs, now) {
		made, err := certs.NewAuthority(names, addrs, now)
		if err != nil {
			return err
		}
		e.ca = made
		if e.config.Dir != "" {
			if err := statefile.WriteJSON(path, made); err != nil {
				return fmt.Errorf("keep CA: %w", err)
			}
		}
	}
	cert, err := e.ca.Issue(names, addrs, now)
	e.cert = cert
	return err
}

// CA is the certificate of the emulator's authority, in PEM. Its name
// constraints limit it to the served hosts and loopback.
func (e *Emulator) CA() []byte { return e.ca.PEM() }

// CABundle is roots, a bundle in PEM, with the emulator's authority added.
func (e *Emulator) CABundle(roots []byte) []byte { return e.ca.Bundle(roots) }

// TLSConfig is for servers of the emulator.
func (e *Emulator) TLSConfig() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{e.cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
}

// AdminToken is the bearer of the management API.
func (e *Emulator) AdminToken() string { return e.config.AdminToken }

// RandomSeed repeats what was random in this emulator.
func (e *Emulator) RandomSeed() uint64 { return e.random }

// Now is the emulated time.
func (e *Emulator) Now() time.Time { return e.clock.Now() }

// Advance moves the emulated clock forward.
func (e *Emulator) Advance(d time.Duration) {
	e.clock.Advance(d)
	e.saver.changed()
}

// Close writes what is not written yet. The emulator must not be used after it.
func (e *Emulator) Close() error { return e.saver.close() }

// ServeHTTP is the direct way in, and what the proxy hands on: a request for the
// host of an Azure service goes to that service; on loopback the path decides.
func (e *Emulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := journal.Watch(w, r, e.clock.Now())
	t, err := e.target(r)
	defer func() { e.note(rec, string(t.Service)) }()
	if err != nil {
		http.Error(rec, "azwi-emulator: "+err.Error(), http.StatusMisdirectedRequest)
		return
	}
	e.serve(rec, r, t)
}

func (e *Emulator) serve(w *journal.Recorder, r *http.Request, t hosts.Target) {
	if f, hit := e.faults.Pick(string(t.Service), r, t.Path); hit {
		w.Fault(f.Name)
		if e.fail(w, r, t, f) {
			return
		}
	}
	switch t.Service {
	case hosts.Authority:
		e.sts.Serve(w, r, t)
	case hosts.ResourceManager:
		e.arm.Serve(w, r, t)
	case hosts.Graph:
		e.graph.Serve(w, r, t)
	case hosts.Vault:
		e.vault.Serve(w, r, t)
	case hosts.IMDS:
		e.imds.Serve(w, r, t)
	case hosts.Blob:
		e.blobs.ServeHTTP(w, r)
	default:
		http.Error(w, "azwi-emulator: "+string(t.Service)+" is not emulated", http.StatusNotImplemented)
	}
}

// note puts a request into the journal and the log.
func (e *Emulator) note(rec *journal.Recorder, service string) {
	entry := rec.Entry(service)
	e.journal.Add(entry)
	e.log.Info("request", "service", service, "method", entry.Method, "host", entry.Host, "path", entry.Path,
		"status", entry.Status, "code", entry.Code, "fault", entry.Fault)
}

// target finds out which service a request is for.
func (e *Emulator) target(r *http.Request) (hosts.Target, error) {
	if t, ok := hosts.Lookup(r.Host); ok {
		t.Path = r.URL.Path
		return t, nil
	}
	if !hosts.IsLoopback(r.Host) && !hosts.Named(e.config.Hosts, r.Host) {
		return hosts.Target{}, fmt.Errorf("host %q is not served here", r.Host)
	}
	t := hosts.Target{Service: hosts.Authority, Cloud: entra.Clouds()[0], Path: r.URL.Path}
	t.Authority = "https://" + r.Host
	t.Base = t.Authority
	first, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch strings.ToLower(first) {
	case "subscriptions", "tenants", "providers", "metadata":
		t.Service = hosts.ResourceManager
	case "v1.0", "beta":
		t.Service = hosts.Graph
	case "vaults":
		name, path, _ := strings.Cut(rest, "/")
		t.Service, t.Name, t.Path = hosts.Vault, name, "/"+path
		t.Base += "/" + first + "/" + name
	}
	return t, nil
}

// Listeners are where an emulator serves. A nil one is not served.
type Listeners struct {
	// Authority is the direct way in, over TLS: token service, Graph, Resource
	// Manager and vaults on one origin.
	Authority net.Listener
	// Proxy is an HTTP proxy, without TLS on its own connection.
	Proxy net.Listener
	// Admin is the management API, without TLS.
	Admin net.Listener
}

// Serve serves until ctx ends, then closes the listeners after the requests in
// progress have been answered, for two seconds at most.
func (e *Emulator) Serve(ctx context.Context, l Listeners) error {
	tunnels := newTunnels()
	proxy := &proxy{emulator: e, tunnels: tunnels}
	var servers []*http.Server
	failed := make(chan error, 4)
	serve := func(listener net.Listener, h http.Handler, secure bool) {
		if listener == nil {
			return
		}
		server := e.server(h)
		servers = append(servers, server)
		go func() {
			var err error
			if secure {
				err = server.ServeTLS(listener, "", "")
			} else {
				err = server.Serve(listener)
			}
			if !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		}()
	}
	serve(l.Authority, e, true)
	serve(l.Proxy, proxy, false)
	serve(l.Admin, e.Admin(), false)
	serve(tunnels, e, true)

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	// ctx has ended, so the time to finish needs a context of its own.
	finish, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	for _, s := range servers {
		if s.Shutdown(finish) != nil {
			_ = s.Close()
		}
	}
	return err
}

func (e *Emulator) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, TLSConfig: e.TLSConfig(),
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10,
		ErrorLog:       slog.NewLogLogger(e.log.Handler(), slog.LevelDebug),
	}
}

func randomToken() string {
	b := make([]byte, 32)
	_, _ = crand.Read(b) // never fails since Go 1.24
	return base64.RawURLEncoding.EncodeToString(b)
}

func drawSeed() uint64 {
	b := make([]byte, 8)
	_, _ = crand.Read(b)
	return binary.LittleEndian.Uint64(b) >> 12 // exact in JSON's numbers
}
