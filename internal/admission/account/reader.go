package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"azwi/internal/finding"
	"azwi/internal/pod/inject"
	"azwi/internal/retryafter"
)

// Errors of Get, for errors.Is. Any other error is the API server's or the
// network's, and passing.
var (
	// ErrNotFound: there is no such service account.
	ErrNotFound = inject.ErrNoAccount
	// ErrForbidden: this process may not read service accounts.
	ErrForbidden = finding.AccountsNotGranted().Err(nil)
	// ErrBusy: too many reads are under way; nothing was asked.
	ErrBusy = errors.New("too many reads of service accounts are under way")
)

// Config of a Reader.
type Config struct {
	// Client speaks to the API server with this process's credentials and without
	// a rate limit of its own: a queue here would only hide an overload. Required.
	Client *http.Client
	// Host is the API server's base URL. Required.
	Host string
	// Deadline of a Get, all tries together. Defaults to 2 s.
	Deadline time.Duration
	// MaxInFlight is the number of accounts that are asked for at the same time;
	// above it Get fails with ErrBusy. Defaults to 256.
	MaxInFlight int
	// MaxConnections is how many of them are under way to the API server; the
	// others wait. Defaults to 24, which is below the 25 idle connections that
	// client-go keeps, so that a burst does not open and close connections.
	MaxConnections int
	// Observe, if set, is told of every request to the API server: its status
	// code (0: no answer) and duration.
	Observe func(status int, took time.Duration)
}

// A Reader reads service accounts. It is safe for concurrent use.
//
// Callers that ask for the same account at the same time share reads, but never
// one that began before they asked: while a read is under way, all newcomers wait
// for the next one.
type Reader struct {
	config Config

	slots chan struct{} // one for each connection in use

	mu      sync.Mutex
	reading map[key]*read // the next read, nil while nobody waits for one
}

type key struct{ namespace, name string }

// A read is one that has yet to begin, or has ended once done is closed.
type read struct {
	waiting int // callers; guarded by Reader.mu
	done    chan struct{}
	account inject.Account
	err     error
}

// NewReader returns a Reader. The error tells which required field is missing.
func NewReader(c Config) (*Reader, error) {
	if c.Client == nil || c.Host == "" {
		return nil, errors.New("account reader: Client and Host are required")
	}
	if c.Deadline == 0 {
		c.Deadline = 2 * time.Second
	}
	if c.MaxInFlight == 0 {
		c.MaxInFlight = 256
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = 24
	}
	if c.Observe == nil {
		c.Observe = func(int, time.Duration) {}
	}
	return &Reader{config: c, reading: map[key]*read{}, slots: make(chan struct{}, c.MaxConnections)}, nil
}

// Get returns the metadata of a service account as it is now.
func (r *Reader) Get(ctx context.Context, namespace, name string) (inject.Account, error) {
	if len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0 {
		// Such as . and .., which name something else in a path. None can exist.
		return inject.Account{}, fmt.Errorf("%w: %q in namespace %q is not a name that Kubernetes allows", ErrNotFound, name, namespace)
	}
	ctx, cancel := context.WithTimeout(ctx, r.config.Deadline)
	defer cancel()
	k := key{namespace, name}

	r.mu.Lock()
	next, underWay := r.reading[k]
	if underWay {
		if next == nil {
			next = &read{done: make(chan struct{})}
			r.reading[k] = next
		}
		next.waiting++
		r.mu.Unlock()
		return r.wait(ctx, k, next)
	}
	if len(r.reading) >= r.config.MaxInFlight {
		r.mu.Unlock()
		return inject.Account{}, ErrBusy
	}
	r.reading[k] = nil
	r.mu.Unlock()

	account, err := r.fetch(ctx, k)
	if next := r.finish(k); next != nil {
		// Those who wait have requests of their own: this one may end.
		go r.serve(context.WithoutCancel(ctx), k, next)
	}
	return account, err
}

func (r *Reader) wait(ctx context.Context, k key, next *read) (inject.Account, error) {
	select {
	case <-next.done:
		return next.account, next.err
	case <-ctx.Done():
		r.mu.Lock()
		next.waiting--
		r.mu.Unlock()
		return inject.Account{}, fmt.Errorf("reading service account %s/%s: %w", k.namespace, k.name, ctx.Err())
	}
}

// finish ends the read under way and returns the next one, nil if nobody waits.
func (r *Reader) finish(k key) *read {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := r.reading[k]
	if next == nil || next.waiting == 0 {
		delete(r.reading, k)
		return nil
	}
	r.reading[k] = nil
	return next
}

func (r *Reader) serve(ctx context.Context, k key, next *read) {
	for next != nil {
		ctx, cancel := context.WithTimeout(ctx, r.config.Deadline)
		next.account, next.err = r.fetch(ctx, k)
		cancel()
		close(next.done)
		next = r.finish(k)
	}
}

// A statusError is an answer of the API server that is not the account.
type statusError struct {
	code       int
	retryAfter time.Duration
}

func (e *statusError) Error() string {
	return fmt.Sprintf("the API server answered %d %s", e.code, http.StatusText(e.code))
}

// retryPause lets another moment pass, and another connection be taken.
const retryPause = 20 * time.Millisecond

// fetch asks the API server, a second time if the first failure may pass. The
// first try gets half of the deadline, so that a lost connection leaves time.
func (r *Reader) fetch(ctx context.Context, k key) (inject.Account, error) {
	first, cancel := context.WithTimeout(ctx, r.config.Deadline/2)
	account, err := r.try(first, k)
	cancel()
	if wait, again := retry(err); again && ctx.Err() == nil {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
			account, err = r.try(ctx, k)
		case <-ctx.Done():
		}
	}
	if err != nil {
		return inject.Account{}, fmt.Errorf("reading service account %s/%s: %w", k.namespace, k.name, err)
	}
	return account, nil
}

func retry(err error) (wait time.Duration, again bool) {
	if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrForbidden) {
		return 0, false
	}
	if status, ok := errors.AsType[*statusError](err); ok {
		return max(retryPause, status.retryAfter), status.code == http.StatusTooManyRequests || status.code >= http.StatusInternalServerError
	}
	return retryPause, true
}

// Metadata alone, whatever else the object holds. A get without resourceVersion
// is answered from etcd with everything that was confirmed before it.
// https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
const accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

// mostBytes bounds an answer; Kubernetes bounds annotations to 256 KiB.
const mostBytes = 2 << 20

func (r *Reader) try(ctx context.Context, k key) (inject.Account, error) {
	path := "/api/v1/namespaces/" + url.PathEscape(k.namespace) + "/serviceaccounts/" + url.PathEscape(k.name)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.config.Host+path, http.NoBody)
	if err != nil {
		return inject.Account{}, err
	}
	req.Header.Set("Accept", accept)
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return inject.Account{}, ctx.Err()
	}
	start := time.Now()
	resp, err := r.config.Client.Do(req)
	if err != nil {
		r.config.Observe(0, time.Since(start))
		return inject.Account{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostBytes+1))
	r.config.Observe(resp.StatusCode, time.Since(start))
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return inject.Account{}, ErrNotFound
	case resp.StatusCode == http.StatusForbidden:
		return inject.Account{}, ErrForbidden
	case resp.StatusCode != http.StatusOK:
		return inject.Account{}, &statusError{resp.StatusCode, retryafter.Of(resp.Header, time.Now())}
	case err != nil:
		return inject.Account{}, fmt.Errorf("the answer was cut off: %w", err)
	case len(body) > mostBytes:
		return inject.Account{}, fmt.Errorf("the answer is larger than %d bytes", mostBytes)
	}
	var object struct {
		Metadata struct {
			Namespace   string            `json:"namespace"`
			Name        string            `json:"name"`
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(body, &object); err != nil {
		return inject.Account{}, fmt.Errorf("decode: %w", err)
	}
	if object.Metadata.Namespace != k.namespace || object.Metadata.Name != k.name {
		// {} of something between would count as an account without client ID.
		return inject.Account{}, errors.New("the answer is not the service account that was asked for")
	}
	return inject.Account{
		Namespace: k.namespace, Name: k.name,
		Labels: object.Metadata.Labels, Annotations: object.Metadata.Annotations,
	}, nil
}
