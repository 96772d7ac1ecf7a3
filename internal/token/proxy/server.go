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

	"azwi/internal/connlimit"
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
	// MaxConns bounds the connections of the pod. Those of MetricsAddr are counted
	// apart. Default: 512.
	MaxConns int
	// DrainDelay is how long everything is served as before after the end was asked
	// for. Default: not at all.
	DrainDelay time.Duration
	// DrainTimeout is how long the requests under way may take after that. Default:
	// 25 s, which with the kubelet's 30 leaves time for the end.
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
		c.DrainTimeout = 25 * time.Second
	}
	if c.MaxConns <= 0 {
		c.MaxConns = 512
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

// maxMetricsConns bounds the connections of MetricsAddr. Prometheus needs one.
const maxMetricsConns = 16

// Run serves until ctx ends and DrainDelay after that, then stops listening and
// waits for the requests under way. It returns nil after a clean end.
func (s *Server) Run(ctx context.Context) error {
	server := s.server(s.config.Handler, s.config.MaxConns)
	servers, ended := []*http.Server{server}, make(chan error, 3)
	for _, l := range s.listeners {
		go func() { ended <- server.Serve(l) }()
	}
	if s.metrics != nil {
		metrics := s.server(s.config.Metrics, maxMetricsConns)
		servers = append(servers, metrics)
		go func() { ended <- metrics.Serve(s.metrics) }()
	}
	var failed error
	select {
	case <-ctx.Done():
		failed = s.drain(ended)
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

// connBuffer bounds what the kernel keeps of a connection in each direction, in
// bytes: it counts as the container's memory. Requests and tokens are smaller.
const connBuffer = 32 << 10

// connGrace is what a client has to deliver its request before another takes its
// place: a burst of clients is served, and a flood of idle ones still moves on by
// thousands a second.
const connGrace = 200 * time.Millisecond

func connState(l *connlimit.Limiter) func(net.Conn, http.ConnState) {
	return func(c net.Conn, state http.ConnState) {
		if tcp, ok := c.(*net.TCPConn); ok && state == http.StateNew {
			_ = errors.Join(tcp.SetReadBuffer(connBuffer), tcp.SetWriteBuffer(connBuffer)) // closed already
		}
		l.ConnState(c, state)
	}
}

// drain goes on for DrainDelay, or until a server fails.
func (s *Server) drain(ended <-chan error) error {
	if s.config.DrainDelay <= 0 {
		return nil
	}
	s.config.Logger.Info("shutting down, still serving", "for", s.config.DrainDelay.String())
	timer := time.NewTimer(s.config.DrainDelay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case err := <-ended:
		return err
	}
}

func (s *Server) server(h http.Handler, conns int) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:   h,
		Protocols: protocols,
		// OPTIONS * goes to the handler as all the rest does.
		DisableGeneralOptionsHandler: true,
		ConnState:                    connState(connlimit.New(conns, connGrace)),
		ReadTimeout:                  10 * time.Second, // of the header too
		WriteTimeout:                 3 * time.Minute,  // the metadata service may take two
		IdleTimeout:                  2 * time.Minute,
		MaxHeaderBytes:               16 << 10,
		ErrorLog:                     slog.NewLogLogger(s.config.Logger.Handler(), slog.LevelDebug),
	}
}
