package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"
)

// A ServerConfig says where to listen.
type ServerConfig struct {
	// Handler is required.
	Handler http.Handler
	// Port on 127.0.0.1 and ::1; 0 takes a free one.
	Port int
	// MetricsAddr is host:port of /metrics. Default: none.
	MetricsAddr string
	// Metrics are required with MetricsAddr.
	Metrics http.Handler
	// DrainTimeout is how long requests under way may take after the end was asked
	// for. Default: 5 s.
	DrainTimeout time.Duration
	// Logger is required.
	Logger *slog.Logger
}

// A Server serves the pod. Make it with NewServer.
type Server struct {
	config    ServerConfig
	listeners []net.Listener
	metrics   net.Listener
}

// NewServer listens and serves nothing yet. A machine without ::1 is no error.
func NewServer(ctx context.Context, c ServerConfig) (*Server, error) {
	if c.DrainTimeout == 0 {
		c.DrainTimeout = 5 * time.Second
	}
	s := &Server{config: c}
	var lc net.ListenConfig
	four, err := lc.Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Port)))
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s.listeners = append(s.listeners, four)
	six, err := lc.Listen(ctx, "tcp6", net.JoinHostPort("::1", strconv.Itoa(s.Port())))
	if err != nil {
		c.Logger.Info("not listening on ::1", "error", err)
	} else {
		s.listeners = append(s.listeners, six)
	}
	if c.MetricsAddr != "" {
		if s.metrics, err = lc.Listen(ctx, "tcp", c.MetricsAddr); err != nil {
			for _, l := range s.listeners {
				_ = l.Close() // nothing was served yet
			}
			return nil, fmt.Errorf("listen for metrics: %w", err)
		}
	}
	return s, nil
}

// Addr is the IPv4 address that the server listens on.
func (s *Server) Addr() net.Addr { return s.listeners[0].Addr() }

// Port is the port that the server listens on.
func (s *Server) Port() int { return s.listeners[0].Addr().(*net.TCPAddr).Port }

// MetricsAddr is where metrics are served; nil if nowhere.
func (s *Server) MetricsAddr() net.Addr {
	if s.metrics == nil {
		return nil
	}
	return s.metrics.Addr()
}

// Run serves until ctx ends, then stops listening and waits for the requests
// under way. It returns nil after a clean end.
func (s *Server) Run(ctx context.Context) error {
	server := s.server(s.config.Handler)
	servers, ended := []*http.Server{server}, make(chan error, 3)
	for _, l := range s.listeners {
		go func() { ended <- server.Serve(l) }()
	}
	if s.metrics != nil {
		metrics := s.server(s.config.Metrics)
		servers = append(servers, metrics)
		go func() { ended <- metrics.Serve(s.metrics) }()
	}
	var failed error
	select {
	case <-ctx.Done():
	case failed = <-ended:
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.DrainTimeout)
	defer cancel()
	for _, server := range servers {
		if err := server.Shutdown(end); errors.Is(err, context.DeadlineExceeded) {
			s.config.Logger.Warn("requests under way were cut off", "after", s.config.DrainTimeout.String())
			_ = server.Close() // it waits for nobody
		} else if err != nil {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

func (s *Server) server(h http.Handler) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:        h,
		Protocols:      protocols,
		ReadTimeout:    10 * time.Second, // of the header too
		WriteTimeout:   3 * time.Minute,  // the metadata service may take two
		IdleTimeout:    2 * time.Minute,
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       slog.NewLogLogger(s.config.Logger.Handler(), slog.LevelDebug),
	}
}
