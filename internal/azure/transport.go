package azure

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
)

// Bounds of one answer and of one list. Azure stays far below them: its largest
// answer here, all role definitions, has 2 MiB.
const (
	maxAnswer  = 4 << 20 // bytes, decompressed
	maxHeader  = 256 << 10
	answerTime = 2 * time.Minute

	maxPages = 1000
	maxItems = 100_000
	maxList  = 32 << 20 // bytes of all pages, decompressed
	listTime = 10 * time.Minute
)

// An AnswerError says why an answer of Azure was not accepted: it leads to another
// origin, or it is too large or too slow. Another try does not help.
type AnswerError struct{ text string }

func (e *AnswerError) Error() string { return e.text }

// NonRetriable tells the SDK to give up.
func (*AnswerError) NonRetriable() {}

func refuse(format string, args ...any) *AnswerError {
	return &AnswerError{fmt.Sprintf(format, args...)}
}

// Do implements policy.Policy.
func (g *guard) Do(r *policy.Request) (*http.Response, error) {
	if err := g.check(r.Raw()); err != nil {
		return nil, err
	}
	return r.Next()
}

// guardSignIn is a Service's transport for requests that carry secrets and assertions. Microsoft's
// authorities have several names. Redirects are not followed at all.
func (c Config) guardSignIn() policy.Transporter {
	g := &guard{
		origins: []string{originOf(c.Cloud.AuthorityHost)},
		signIn:  true,
		machine: c.Method == MethodManagedIdentity || c.Method == MethodDefault,
	}
	if !c.private() {
		g.regions = true
		for _, alias := range c.Cloud.AuthorityAliases {
			g.origins = append(g.origins, originOf("https://"+alias))
		}
	}
	return newGuard(c.HTTP, g)
}

func newGuard(base policy.Transporter, g *guard) policy.Transporter {
	client := &http.Client{Transport: g}
	if g.signIn {
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	switch base := base.(type) {
	case nil:
		g.next = newTransport()
	case *http.Client:
		// Its transport alone: it would follow redirects behind the guard's back.
		g.next = base.Transport
	default:
		g.next = roundTripper{base}
	}
	if g.next == nil {
		g.next = newTransport()
	}
	return transporter{client, new(atomic.Bool)}
}

// newTransport is much like the SDK's own.
func newTransport() http.RoundTripper {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           100,
		MaxIdleConnsPerHost:    10,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxHeader,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
	}
}

// A transporter is a client whose AnswerErrors stand alone: net/http would put
// the URL before them, which is the answer's and of any length.
type transporter struct {
	client *http.Client
	// reached says that the service has answered once.
	reached *atomic.Bool
}

func (t transporter) Do(r *http.Request) (*http.Response, error) {
	resp, err := t.client.Do(r)
	if answer, ok := errors.AsType[*AnswerError](err); ok {
		return nil, answer
	}
	if err == nil {
		t.reached.Store(true)
	} else if never := neverReached(r, err); never != nil && !t.reached.Load() {
		if kept, ok := r.Context().Value(signInFailure{}).(*error); ok {
			*kept = never
		}
		return nil, never
	}
	return resp, err
}

type roundTripper struct{ policy.Transporter }

func (t roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return t.Do(r) }

// A guard sends each request, redirected ones too.
type guard struct {
	next    http.RoundTripper
	origins []string
	// signIn follows no redirects.
	signIn bool
	// regions lets requests go to subdomains of origins too.
	regions bool
	// machine lets requests go to the managed identity endpoints of this machine,
	// which the environment names.
	machine bool
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := g.check(r); err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(r.Context(), answerTime, refuse("%s did not complete its answer within %s", r.URL.Host, answerTime))
	resp, err := g.next.RoundTrip(r.WithContext(ctx))
	if err != nil {
		err = refusalOf(ctx, err)
		cancel()
		return nil, err
	}
	body := &boundedBody{ReadCloser: resp.Body, ctx: ctx, cancel: cancel, host: r.URL.Host, left: maxAnswer}
	body.list, _ = ctx.Value(listBytes{}).(*atomic.Int64)
	resp.Body = body
	return resp, nil
}

func (g *guard) check(r *http.Request) error {
	if g.allows(r) {
		return nil
	}
	return refuse("Azure's answer leads from %q to %q: credentials are not sent there", g.origins[0], originURL(r.URL))
}

func (g *guard) allows(r *http.Request) bool {
	to := originURL(r.URL)
	if slices.Contains(g.origins, to) {
		return true
	}
	if g.regions && slices.ContainsFunc(g.origins, func(o string) bool {
		return strings.HasPrefix(to, "https://") && strings.HasSuffix(to, "."+strings.TrimPrefix(o, "https://"))
	}) {
		return true
	}
	// No answer names these endpoints, and only requests to them have the headers; the
	// SDK looks whether there is the first one without.
	return g.machine && (to == "http://169.254.169.254" && r.Method == http.MethodGet ||
		r.Header.Get("Metadata") != "" || r.Header.Get("X-IDENTITY-HEADER") != "" || r.Header.Get("Secret") != "")
}

func originOf(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return ""
	}
	return originURL(u)
}

// originURL is scheme, host and port, the default port left out.
func originURL(u *url.URL) string {
	scheme, host, port := strings.ToLower(u.Scheme), strings.ToLower(u.Hostname()), u.Port()
	if scheme == "https" && port == "443" || scheme == "http" && port == "80" {
		port = ""
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port != "" {
		host += ":" + port
	}
	return scheme + "://" + host
}

// refusalOf is the AnswerError for which ctx ended, else err.
func refusalOf(ctx context.Context, err error) error {
	if late, ok := errors.AsType[*AnswerError](context.Cause(ctx)); ok {
		return late
	}
	return err
}

// A boundedBody ends with an AnswerError where the answer becomes too large or
// takes too long. net/http has decompressed what it reads.
type boundedBody struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelFunc
	host   string
	left   int64
	// entries counts objects and lists: decoded, empty ones are many times as large.
	entries int
	// list counts what is left for all pages of a list. Nil: this is not a list.
	list *atomic.Int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, refuse("the answer of %s has more than %d MiB", b.host, maxAnswer>>20)
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if b.entries += bytes.Count(p[:n], []byte("{")) + bytes.Count(p[:n], []byte("[")); b.entries > maxItems {
		return 0, refuse("the answer of %s has more than %d entries", b.host, maxItems)
	}
	if b.list != nil && b.list.Add(-int64(n)) < 0 {
		return 0, refuse("the list has more than %d MiB", maxList>>20)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = refusalOf(b.ctx, err)
	}
	return n, err
}

func (b *boundedBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// listBytes is the context's key of a boundedBody's list.
type listBytes struct{}

// List reads all pages of a list, within bounds of pages, items, size and time.
// items takes what is needed from a page.
func List[P, T any](ctx context.Context, pager *runtime.Pager[P], items func(P) []T) ([]T, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, listTime, refuse("the list is not complete after %s", listTime))
	defer cancel()
	left := new(atomic.Int64)
	left.Store(maxList)
	ctx = context.WithValue(ctx, listBytes{}, left)
	var all []T
	for range maxPages {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return nil, refusalOf(ctx, err)
		}
		all = append(all, items(page)...)
		if len(all) > maxItems {
			return nil, refuse("the list has more than %d entries", maxItems)
		}
		if !pager.More() {
			return all, nil
		}
	}
	return nil, refuse("the list has more than %d pages", maxPages)
}

// waits is a Config's Waiting, and the policy that tells it of calls.
type waits func(host string) (done func())

// begin tells that a call begins; what it returns, that it has ended.
func (w waits) begin(host string) (done func()) {
	if w == nil {
		return func() {}
	}
	return w(host)
}

// Do implements policy.Policy.
func (w waits) Do(r *policy.Request) (*http.Response, error) {
	defer w.begin(r.Raw().URL.Host)()
	return r.Next()
}
