package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"azwi/contract"
)

// Config of a Server.
type Config struct {
	// Certificate is what is served. Default: the pair of files in CertDir.
	Certificate Certificate
	// Metrics are served and told of the certificate. Required.
	Metrics *Metrics
	// Logger is required.
	Logger *slog.Logger
	// Addr, HealthAddr and MetricsAddr are host:port. They default to those of
	// package contract; port 0 is allowed.
	Addr, HealthAddr, MetricsAddr string
	// CertDir holds tls.crt and tls.key. Defaults to contract.WebhookDefaultCertDir.
	CertDir string
	// MinTLS is a version of crypto/tls. Defaults to TLS 1.3.
	MinTLS uint16
	// ClientCAFile, if set, admits only callers with a certificate of this CA.
	ClientCAFile string
	// ClientNames are the common names of which a caller's certificate must have
	// one. Empty: any certificate of the CA.
	ClientNames []string
	// DrainDelay is how long the server goes on as before, but not ready, after
	// its end was asked for, so that nobody is sent here any more when it stops
	// listening. Defaults to 5 s; negative: none.
	DrainDelay time.Duration
	// DrainTimeout is how long requests under way may take after that. Defaults
	// to 15 s.
	DrainTimeout time.Duration
	// Memory is how much the process may use, in bytes. It bounds the connections:
	// 256 at the default of 64 MiB, and in proportion.
	Memory int64
}

// defaultMemory is the chart's limit.
const defaultMemory = 64 << 20

// Connections to health and metrics, each: kubelets and Prometheus need a few.
const mostPlainConnections = 32

// A Certificate is what the server shows its callers. It is safe for concurrent use.
type Certificate interface {
	// Current returns the certificate for a new connection.
	Current() (*tls.Certificate, error)
	// Ready says why nobody should be sent here; nil means that callers will
	// accept the certificate.
	Ready() error
}

// A Server serves admission, health and metrics. Make it with NewServer.
type Server struct {
	config    Config
	admission atomic.Pointer[http.Handler]
	draining  atomic.Bool

	admissionListener, healthListener, metricsListener net.Listener
}

// NewServer listens, so that the addresses are known, and serves nothing yet.
func NewServer(ctx context.Context, c Config) (*Server, error) {
	if c.Metrics == nil || c.Logger == nil {
		return nil, errors.New("webhook server: Metrics and Logger are required")
	}
	setDefault(&c.Addr, contract.WebhookDefaultAddr)
	setDefault(&c.HealthAddr, contract.WebhookDefaultHealthAddr)
	setDefault(&c.MetricsAddr, contract.WebhookDefaultMetrics)
	setDefault(&c.CertDir, contract.WebhookDefaultCertDir)
	setDefault(&c.MinTLS, tls.VersionTLS13)
	setDefault(&c.DrainDelay, 5*time.Second)
	setDefault(&c.DrainTimeout, 15*time.Second)
	setDefault(&c.Memory, defaultMemory)
	if c.Certificate == nil {
		c.Certificate = &keyPair{dir: c.CertDir, logger: c.Logger, renewed: c.Metrics.ObserveCertificate}
	}
	s := &Server{config: c}

	var lc net.ListenConfig
	for _, l := range []struct {
		addr string
		to   *net.Listener
	}{{c.Addr, &s.admissionListener}, {c.HealthAddr, &s.healthListener}, {c.MetricsAddr, &s.metricsListener}} {
		var err error
		if *l.to, err = lc.Listen(ctx, "tcp", l.addr); err != nil {
			s.close()
			return nil, err
		}
	}
	admission := newConnections(s.admissionListener, int(min(max(c.Memory/(256<<10), 64), 4096)))
	if c.ClientCAFile != "" {
		admission = admission.withVerified()
	}
	s.admissionListener = admission
	s.healthListener = newConnections(s.healthListener, mostPlainConnections)
	s.metricsListener = newConnections(s.metricsListener, mostPlainConnections)
	return s, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (s *Server) close() {
	for _, l := range []net.Listener{s.admissionListener, s.healthListener, s.metricsListener} {
		if l != nil {
			_ = l.Close() // nothing was served yet
		}
	}
}

// Addr is where admission is served.
func (s *Server) Addr() net.Addr { return s.admissionListener.Addr() }

// HealthAddr is where /healthz and /readyz are served.
func (s *Server) HealthAddr() net.Addr { return s.healthListener.Addr() }

// MetricsAddr is where /metrics is served.
func (s *Server) MetricsAddr() net.Addr { return s.metricsListener.Addr() }

// Admit has the server answer reviews by the handler. Until then it is not ready and
// tells callers to try again.
func (s *Server) Admit(h http.Handler) { s.admission.Store(&h) }

// Run serves until ctx ends, then drains: it reports not ready and goes on for
// DrainDelay, stops listening, and waits for the requests under way. It returns
// nil after a clean end.
func (s *Server) Run(ctx context.Context) error {
	// No HTTP/2, of which API servers make no use with webhooks (k8s.io/issue/75791):
	// its streams would have to be bounded as well.
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	admission := &http.Server{
		Handler:           s.admissionMux(),
		Protocols:         &protocols,
		TLSConfig:         s.tlsConfig(),
		ConnContext:       withConnection,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      15 * time.Second,
		// Longer than the API server keeps an idle connection (90 s), so that never
		// this side closes one on which a request is on its way.
		IdleTimeout:    3 * time.Minute,
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       slog.NewLogLogger(s.config.Logger.Handler(), slog.LevelDebug),
	}
	health := plainServer(s.healthMux(), s.config.Logger)
	metrics := plainServer(s.metricsMux(), s.config.Logger)

	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return served("admission", admission.ServeTLS(s.admissionListener, "", "")) })
	g.Go(func() error { return served("health", health.Serve(s.healthListener)) })
	g.Go(func() error { return served("metrics", metrics.Serve(s.metricsListener)) })
	g.Go(func() error {
		<-gctx.Done()
		if ctx.Err() != nil { // asked to end, not failed
			s.config.Logger.Info("draining", "delay", max(0, s.config.DrainDelay).String())
			s.draining.Store(true)
			<-time.After(s.config.DrainDelay)
		}
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.DrainTimeout)
		defer cancel()
		return errors.Join(admission.Shutdown(end), health.Shutdown(end), metrics.Shutdown(end))
	})
	return g.Wait()
}

func served(what string, err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve %s: %w", what, err)
}

func plainServer(h http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler: wholeRequests(h), ConnContext: withConnection, ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}

func (s *Server) admissionMux() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(contract.WebhookPath, func(w http.ResponseWriter, r *http.Request) {
		h := s.admission.Load()
		if h == nil {
			http.Error(w, errStarting.Error(), http.StatusServiceUnavailable)
			return
		}
		(*h).ServeHTTP(w, r)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.draining.Load() {
			// Closed by the protocol, after the answer: closing idle connections
			// from this side could lose a request that is on its way.
			w.Header().Set("Connection", "close")
		}
		if !s.callerAllowed(r.TLS) {
			http.Error(w, "this client certificate may not ask for admission", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (s *Server) callerAllowed(state *tls.ConnectionState) bool {
	if len(s.config.ClientNames) == 0 {
		return true
	}
	return state != nil && len(state.VerifiedChains) > 0 &&
		slices.Contains(s.config.ClientNames, state.PeerCertificates[0].Subject.CommonName)
}

func (s *Server) healthMux() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
	return mux
}

var errStarting = errors.New("starting: the API server has not answered yet")

func (s *Server) ready() error {
	if s.draining.Load() {
		return errors.New("draining")
	}
	if err := s.config.Certificate.Ready(); err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	if s.admission.Load() == nil {
		return errStarting
	}
	return nil
}

func (s *Server) metricsMux() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.config.Metrics.Handler())
	return mux
}
