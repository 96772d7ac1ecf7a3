package proxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"azwi/internal/finding"
	"azwi/internal/token"
	"azwi/internal/token/entra"
	"azwi/internal/token/imds"
)

// source hands out tokens. Get's error is a *token.Error or its context's.
type source interface {
	Get(context.Context, token.Key) (token.Token, error)
}

// A Handler answers everything that comes to the proxy's port.
type Handler struct {
	// Tokens is required.
	Tokens source
	// Authority is part of the names of tokens.
	Authority  string
	Identities Identities
	Parser     imds.Parser
	// Forward answers what has nothing to do with identities. Nil: with 404.
	Forward http.Handler
	// Ready is asked for /readyz; it says what is wrong. It must not depend on
	// anything outside the pod. Nil: nothing is ever wrong.
	Ready func() error
	// Metrics are required.
	Metrics *Metrics
	// Logger is required. Requests stand there at level debug, refused ones at
	// level info.
	Logger *slog.Logger

	bodies atomic.Int32 // being read
}

// maxBodies bounds the bodies that are read at the same time. Clients that send
// theirs slowly would otherwise take all connections.
const maxBodies = 16

// loopHeader marks what the proxy forwards. Where it comes back, the proxy's own
// traffic is redirected to it.
const loopHeader = "Azwi-Proxy-Forwarded"

// A requestBody calls ended once it was read to its end, or could not be, and when
// it is given up.
type requestBody struct {
	io.ReadCloser

	whole bool
	ended func()
}

func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.whole = b.whole || errors.Is(err, io.EOF)
		b.ended()
	}
	return n, err
}

// giveUp closes the connection after the answer if there is more to the body. The
// server would otherwise wait for the rest, which may be slow. nil is no body.
func (b *requestBody) giveUp(w http.ResponseWriter) {
	if b == nil {
		return
	}
	b.ended()
	if b.whole {
		return
	}
	w.Header().Set("Connection", "close")
	_ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)) // a test's recorder has none
}

// ServeHTTP answers a request: whether it may ask at all, what it asks for, and then
// the token or what else it is.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if e := imds.CheckCaller(r); e != nil {
		h.refuse(w, r, e, outcomeInvalid)
		return
	}
	r, body, e := h.bound(r)
	defer body.giveUp(w)
	if e != nil {
		h.refuse(w, r, e, outcomeBusy)
		return
	}
	request, e := h.Parser.Parse(w, r)
	switch {
	case e != nil:
		h.refuse(w, r, e, outcomeInvalid)
	case request.Path != "":
		h.elsewhere(w, r, request.Path)
	default:
		h.token(w, r, request)
	}
}

// bound gives a request with a body one that takes a place while it is read, if there
// is one.
func (h *Handler) bound(r *http.Request) (*http.Request, *requestBody, *imds.Error) {
	if r.ContentLength == 0 {
		return r, nil, nil
	}
	body := &requestBody{ReadCloser: r.Body, ended: func() {}}
	if r.Method == http.MethodPost {
		if h.bodies.Add(1) > maxBodies {
			h.bodies.Add(-1)
			return r, body, tooMany("too many requests with a body are being read")
		}
		body.ended = sync.OnceFunc(func() { h.bodies.Add(-1) })
	}
	r = r.WithContext(r.Context()) // the server goes by the body of its own
	r.Body = body
	return r, body, nil
}

// token answers a request for a token: as whom, the token, the answer.
func (h *Handler) token(w http.ResponseWriter, r *http.Request, request imds.Request) {
	identity, e := h.Identities.Resolve(request.Kind, request.ID)
	if e != nil {
		h.refuse(w, r, e, outcomeInvalid)
		return
	}
	t, err := h.Tokens.Get(r.Context(), token.Key{
		Authority: h.Authority, TenantID: identity.TenantID, ClientID: identity.ClientID,
		Resource: request.Resource, Claims: request.Claims,
	})
	if err != nil {
		e, outcome := explain(err)
		h.refuse(w, r, e, outcome)
		return
	}
	h.Metrics.request(outcomeOK)
	if t.Stale {
		h.Metrics.staleServe()
	}
	imds.Answer{
		AccessToken: t.Value, TokenType: t.Type, ClientID: identity.ClientID, Resource: request.Resource,
		Issued: t.Issued, Expires: t.Expires, Remaining: t.Remaining,
	}.Write(w)
	if h.Logger.Enabled(r.Context(), slog.LevelDebug) {
		h.Logger.DebugContext(r.Context(), "token served", "form", request.Form.String(), "client", identity.ClientID,
			"resource", request.Resource, "expiresIn", t.Remaining.Round(time.Second).String(), "stale", t.Stale)
	}
}

// explain turns the reason for no token into the answer. Clients repeat on 429
// and 5xx for up to a minute, so only what may pass gets such a status.
func explain(err error) (*imds.Error, outcome) {
	failed, ok := errors.AsType[*token.Error](err)
	if !ok { // the caller has gone
		return &imds.Error{Status: http.StatusServiceUnavailable, Name: "temporarily_unavailable", Description: "the request ended", RetryAfter: time.Second}, outcomeGone
	}
	if errors.Is(err, token.ErrBusy) {
		e := tooMany(failed.Error())
		e.RetryAfter = failed.RetryAfter
		return e, outcomeBusy
	}
	e := &imds.Error{Status: http.StatusBadRequest, Name: "invalid_request", Description: failed.Error()}
	answer, fromEntra := errors.AsType[*entra.Error](err)
	if fromEntra {
		if answer.Name != "" {
			e.Name = answer.Name
		}
		e.Code, e.CorrelationID, e.TraceID = answer.Code, answer.CorrelationID, answer.TraceID
		if advice := answer.Advice(); advice != "" {
			e.Description += " What to do: " + advice
		}
	}
	if failed.Class == finding.Permanent {
		return e, outcomePermanent
	}
	e.Status, e.RetryAfter = http.StatusServiceUnavailable, max(failed.RetryAfter, time.Second)
	if !fromEntra || answer.Code == 0 {
		e.Name = "temporarily_unavailable"
	}
	if fromEntra && answer.Status == http.StatusTooManyRequests {
		e.Status = http.StatusTooManyRequests
	}
	if failed.Class == finding.Replication {
		return e, outcomeReplication
	}
	return e, outcomeTransient
}

func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, e *imds.Error, o outcome) {
	h.Metrics.request(o)
	e.Write(w)
	// The path alone: a query may hold anything.
	h.Logger.InfoContext(r.Context(), "request refused", "status", e.Status, "error", e.Name, "description", e.Description, "code", e.Code)
}

// elsewhere answers what is not about tokens: the proxy's own health, and what the
// metadata service is asked for.
func (h *Handler) elsewhere(w http.ResponseWriter, r *http.Request, path string) {
	switch {
	case path == "/readyz" || path == "/healthz":
		h.health(w, path == "/readyz")
	case h.Forward == nil:
		h.refuse(w, r, &imds.Error{Status: http.StatusNotFound, Name: "not_found",
			Description: "the proxy does not forward requests to the metadata service"}, outcomeBlocked)
	case len(r.Header[loopHeader]) > 0:
		h.Logger.Error("a request came back", "path", path, "error", finding.ProxyLoop().Text())
		h.refuse(w, r, &imds.Error{Status: http.StatusLoopDetected, Name: "loop_detected",
			Description: finding.ProxyLoop().Text()}, outcomeInvalid)
	default:
		h.Metrics.request(outcomeForwarded)
		r.URL.Path, r.URL.RawPath = path, ""
		h.Forward.ServeHTTP(w, r)
	}
}

func (h *Handler) health(w http.ResponseWriter, ready bool) {
	if ready && h.Ready != nil {
		if err := h.Ready(); err != nil {
			(&imds.Error{Status: http.StatusServiceUnavailable, Name: "not_ready", Description: err.Error(), RetryAfter: time.Second}).Write(w)
			return
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "ok\n")
}

func tooMany(description string) *imds.Error {
	return &imds.Error{Status: http.StatusTooManyRequests, Name: "too_many_requests", Description: description, RetryAfter: time.Second}
}
