package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"azwi/internal/token/imds"
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

// Bounds of what is passed on, in bytes. Both are far above what the metadata
// service takes and gives.
const (
	maxForwardedBody   = 64 << 10
	maxForwardedAnswer = 1 << 20
)

// forwardedHeaders are all that reach the metadata service: what it documents, and
// what Azure's SDKs send to follow a request. Others could tell a server to read a
// request differently from how the proxy has.
func forwardedHeaders() []string {
	return []string{"Accept", "Content-Type", "Metadata", "User-Agent", "X-Ms-Client-Request-Id", "X-Ms-Correlation-Id"}
}

// NewForwarder returns a handler that passes requests on to the real metadata
// service and streams its answers. A body is read whole before anything is sent.
// The handler trusts its caller that path and method may be forwarded, and never
// asks another proxy.
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
			header := http.Header{loopHeader: {"1"}, "User-Agent": nil} // nil: not Go's own
			for _, name := range forwardedHeaders() {
				if value := r.Out.Header.Get(name); value != "" {
					header.Set(name, value)
				}
			}
			r.Out.Header = header
		},
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
			MaxIdleConnsPerHost:    2,
			IdleConnTimeout:        15 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true, // answers pass as they are
		},
		ModifyResponse: func(resp *http.Response) error {
			if resp.ContentLength > maxForwardedAnswer {
				return errAnswerTooLarge
			}
			resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxForwardedAnswer}
			return nil
		},
		ErrorLog: slog.NewLogLogger(c.Logger.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			e := &imds.Error{Status: http.StatusBadGateway, Name: "bad_gateway", Description: "the metadata service cannot be reached"}
			if netError, ok := errors.AsType[net.Error](err); errors.Is(err, context.DeadlineExceeded) || ok && netError.Timeout() {
				e.Status, e.Name, e.Description = http.StatusGatewayTimeout, "gateway_timeout", "the metadata service does not answer"
			}
			if errors.Is(err, errAnswerTooLarge) {
				e.Description = errAnswerTooLarge.Error()
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
	body, e := readForwarded(r)
	if e != nil {
		e.Write(w)
		return
	}
	select {
	case f.places <- struct{}{}:
		defer func() { <-f.places }()
	default:
		tooMany("too many requests to the metadata service are under way").Write(w)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), f.timeout)
	defer cancel()
	out := r.WithContext(ctx)
	out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	f.proxy.ServeHTTP(w, out)
}

// readForwarded reads the body of a request that may have one. Servers differ on
// where a request ends whose body is unusual, and on what the rest is: another
// request, with an answer that somebody else gets.
func readForwarded(r *http.Request) ([]byte, *imds.Error) {
	switch {
	case len(r.TransferEncoding) > 0:
		return nil, invalidForward("Transfer-Encoding is not forwarded: send the body with a Content-Length")
	case len(r.Header["Expect"]) > 0:
		return nil, invalidForward("the Expect header is not forwarded: send the request without it")
	case r.ContentLength == 0:
		return nil, nil
	case r.Method != http.MethodPost:
		return nil, invalidForward("a body is forwarded with POST only")
	case r.ContentLength > maxForwardedBody:
		return nil, invalidForward(fmt.Sprintf("the body is larger than the %d bytes that are forwarded", maxForwardedBody))
	}
	body := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, body); err != nil {
		return nil, invalidForward("the body ends before its Content-Length or does not arrive in time")
	}
	return body, nil
}

func invalidForward(description string) *imds.Error {
	return &imds.Error{Status: http.StatusBadRequest, Name: "invalid_request", Description: description}
}

var errAnswerTooLarge = fmt.Errorf("the metadata service's answer is larger than %d bytes", maxForwardedAnswer)

// A boundedBody fails instead of going on for ever; the client then sees an answer
// that was cut off.
type boundedBody struct {
	io.ReadCloser

	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errAnswerTooLarge
	}
	return n, err
}
