package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"azwi/internal/imds"
)

// A ForwarderConfig says where the real metadata service is.
type ForwarderConfig struct {
	// URL is the metadata service's. Default: http://169.254.169.254.
	URL *url.URL
	// Timeout of a request, its answer included. Default: 150 s, as the first
	// request for scheduled events takes up to two minutes.
	Timeout time.Duration
	// MaxInFlight bounds the requests under way. Default: 64.
	MaxInFlight int
	// Logger is required.
	Logger *slog.Logger
}

// NewForwarder returns a handler that passes requests on to the real metadata
// service and streams its answers. It trusts its caller that the path may be
// forwarded, and never asks another proxy.
func NewForwarder(c ForwarderConfig) http.Handler {
	if c.URL == nil {
		c.URL = &url.URL{Scheme: "http", Host: "169.254.169.254"}
	}
	if c.Timeout == 0 {
		c.Timeout = 150 * time.Second
	}
	if c.MaxInFlight == 0 {
		c.MaxInFlight = 64
	}
	f := &forwarder{
		timeout: c.Timeout,
		places:  make(chan struct{}, c.MaxInFlight),
	}
	f.proxy = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = c.URL.Scheme, c.URL.Host, c.URL.Host
			r.Out.Header.Del("Connection") // nothing is upgraded
			r.Out.Header.Del("Upgrade")
			r.Out.Header.Set(loopHeader, "1")
		},
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
			MaxIdleConnsPerHost:    2,
			IdleConnTimeout:        15 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true, // answers pass as they are
		},
		ErrorLog: slog.NewLogLogger(c.Logger.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			e := &imds.Error{Status: http.StatusBadGateway, Name: "bad_gateway", Description: "the metadata service can't be reached"}
			if netError, ok := errors.AsType[net.Error](err); errors.Is(err, context.DeadlineExceeded) || ok && netError.Timeout() {
				e.Status, e.Name, e.Description = http.StatusGatewayTimeout, "gateway_timeout", "the metadata service does not answer"
			}
			c.Logger.WarnContext(r.Context(), "not forwarded", "status", e.Status, "error", err)
			e.Write(w)
		},
	}
	return f
}

type forwarder struct {
	timeout time.Duration
	places  chan struct{}
	proxy   *httputil.ReverseProxy
}

func (f *forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case f.places <- struct{}{}:
		defer func() { <-f.places }()
	default:
		(&imds.Error{Status: http.StatusTooManyRequests, Name: "too_many_requests",
			Description: "too many requests to the metadata service are under way", RetryAfter: time.Second}).Write(w)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), f.timeout)
	defer cancel()
	f.proxy.ServeHTTP(w, r.WithContext(ctx))
}
