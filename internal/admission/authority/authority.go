package authority

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"azwi/internal/finding"
	"azwi/internal/kube"
)

// Config of an Authority.
type Config struct {
	// API is the API server, with the right to get, watch and patch the two
	// objects below. Required.
	API *kube.Client
	// Namespace and Secret are where authority and certificate are kept. The
	// Secret must exist, and may be empty. Required.
	Namespace, Secret string
	// Configuration is the MutatingWebhookConfiguration whose caBundle is written.
	// Without the right to read it, it is left alone. Required.
	Configuration string
	// Names are the DNS names and IP addresses of the certificate. Required.
	Names []string
	// Logger is required.
	Logger *slog.Logger
	// Served, if set, is told when the certificate that is served expires.
	Served func(notAfter time.Time)
	// Wrote, if set, is told of every write: secret or configuration.
	Wrote func(object string)
	// Now is the clock. Default: time.Now.
	Now func() time.Time
	// Lifetime of a certificate and of an authority. Default: 1 year and 10 years,
	// as upstream.
	Lifetime, AuthorityLifetime time.Duration
	// RenewBefore is how long before their end both are replaced. Default: 90
	// days, as upstream.
	RenewBefore time.Duration
	// Overlap is how long a former authority stays trusted, from the beginning of
	// the new one. Default: 24 h.
	Overlap time.Duration
}

const (
	// callTimeout bounds one call of the API server.
	callTimeout = 10 * time.Second
	// watchTime is how long a watch lasts, and so how often all is looked at anew.
	watchTime = 10 * time.Minute
	// longestWait bounds the wait for a renewal, as clocks may be set.
	longestWait = 10 * time.Minute
	// firstRetry and lastRetry are the waits between failed attempts.
	firstRetry, lastRetry = time.Second, 30 * time.Second
	// refusalsToTell: an API server that has just started refuses everybody.
	refusalsToTell = 3
	// Each object may be written writeBurst times in a row, then once each
	// writeEvery: if another program disagrees, the API server shall not suffer.
	writeBurst, writeEvery = 5, 10 * time.Second
)

// An Authority keeps a certificate and serves it. Make it with New; it is safe for
// concurrent use.
type Authority struct {
	config        Config
	rules         rules
	secret        *object
	configuration *object

	keys chan newKey
	// generate makes a key; tests share some, as they are slow to make.
	generate func() (*rsa.PrivateKey, error)

	// Run's own: the authority last seen in the Secret, and until when there is
	// nothing to do if the versions stay as they are.
	known *signer
	idle  struct {
		secret, configuration string
		until                 time.Time
	}

	mu      sync.Mutex
	served  *tls.Certificate
	trust   error // why the API server does not trust it, as far as can be seen
	failure error // of the last attempt
}

// An object is one that is watched and written.
type object struct {
	what, collection, name string
	writes                 *rate.Limiter
	refusals               int // of the watch
}

func (o *object) path() string { return o.collection + "/" + url.PathEscape(o.name) }

// New returns an Authority that has nothing to serve until Run. The error tells what
// is wrong in the Config.
func New(c Config) (*Authority, error) {
	if c.API == nil || c.Namespace == "" || c.Secret == "" || c.Configuration == "" || len(c.Names) == 0 || c.Logger == nil {
		return nil, errors.New("certificate authority: API, Namespace, Secret, Configuration, Names and Logger are required")
	}
	const day = 24 * time.Hour
	setDefault(&c.Lifetime, 365*day)
	setDefault(&c.AuthorityLifetime, 10*365*day)
	setDefault(&c.RenewBefore, 90*day)
	setDefault(&c.Overlap, day)
	if c.RenewBefore >= c.Lifetime || c.Lifetime > c.AuthorityLifetime {
		return nil, errors.New("certificate authority: RenewBefore must be less than Lifetime, and Lifetime no more than AuthorityLifetime")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Served == nil {
		c.Served = func(time.Time) {}
	}
	if c.Wrote == nil {
		c.Wrote = func(string) {}
	}
	keys := make(chan newKey)
	limiter := func() *rate.Limiter { return rate.NewLimiter(rate.Every(writeEvery), writeBurst) }
	return &Authority{
		config: c,
		rules: rules{
			names: c.Names, lifetime: c.Lifetime, authorityLifetime: c.AuthorityLifetime, renewBefore: c.RenewBefore, overlap: c.Overlap,
			newKey: func(ctx context.Context) (*rsa.PrivateKey, error) {
				select {
				case k := <-keys:
					return k.key, k.err
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			},
		},
		keys:     keys,
		generate: func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, authorityBits) },
		secret: &object{
			what: "secret", collection: "/api/v1/namespaces/" + url.PathEscape(c.Namespace) + "/secrets", name: c.Secret, writes: limiter(),
		},
		configuration: &object{
			what: "configuration", collection: "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
			name: c.Configuration, writes: limiter(),
		},
		failure: errors.New("the API server has not been asked yet"),
	}, nil
}

func setDefault(field *time.Duration, value time.Duration) {
	if *field == 0 {
		*field = value
	}
}

// Current returns the certificate to serve; the error says why there is none.
func (a *Authority) Current() (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.served == nil {
		return nil, a.failure
	}
	return a.served, nil
}

// Ready returns nil if a certificate is served and, as far as the webhook's
// configuration could be seen, the API server trusts it. While the API server can't
// be reached, what was last seen holds.
func (a *Authority) Ready() error {
	if _, err := a.Current(); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.trust
}

// Run keeps the certificate until ctx ends; then it returns nil. Whatever fails is
// logged and tried again.
func (a *Authority) Run(ctx context.Context) error {
	changed := make(chan struct{}, 1)
	g, ctx := errgroup.WithContext(ctx)
	for _, o := range []*object{a.secret, a.configuration} {
		g.Go(func() error { a.watch(ctx, o, changed); return nil })
	}
	g.Go(func() error { a.makeKeys(ctx); return nil })
	g.Go(func() error {
		retry := firstRetry
		for ctx.Err() == nil {
			wait, err := a.keep(ctx)
			a.mu.Lock()
			a.failure = err
			a.mu.Unlock()
			switch {
			case ctx.Err() != nil:
				return nil
			case err == nil:
				retry = firstRetry
			default:
				a.config.Logger.Warn("own certificate not in order: trying again", "error", err, "wait", retry.String())
				wait, retry = retry, min(2*retry, lastRetry)
			}
			pause(ctx, wait, changed)
		}
		return nil
	})
	return g.Wait()
}

// A newKey is one for an authority, or why there is none.
type newKey struct {
	key *rsa.PrivateKey
	err error
}

// makeKeys has one key ready, always. Making one takes a tenth of a second and more, in
// which another program's write would not be seen.
func (a *Authority) makeKeys(ctx context.Context) {
	for ctx.Err() == nil {
		key, err := a.generate()
		select {
		case a.keys <- newKey{key, err}:
		case <-ctx.Done():
		}
	}
}

// pause ends after a time, or with ctx, or when something has changed.
func pause(ctx context.Context, wait time.Duration, changed <-chan struct{}) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-changed:
	case <-timer.C:
	}
}

// watch fills changed whenever the object may have changed.
func (a *Authority) watch(ctx context.Context, o *object, changed chan<- struct{}) {
	for retry := firstRetry; ctx.Err() == nil; {
		err := a.config.API.Watch(ctx, o.collection, o.name, watchTime, func() {
			retry = firstRetry
			select {
			case changed <- struct{}{}:
			default: // somebody will look already
			}
		})
		if kube.IsForbidden(err) {
			o.refusals++
		}
		if o.refusals == refusalsToTell {
			o.refusals++ // once
			a.config.Logger.Warn("changes can't be watched", "object", o.what, "name", o.name, "error", because(finding.WatchNotGranted(), err))
		}
		if err == nil {
			continue
		}
		a.config.Logger.Debug("watch ended", "object", o.what, "error", err)
		pause(ctx, retry, nil)
		retry = min(2*retry, lastRetry)
	}
}

// Two who change the same object at the same time: one of them gets this.
func isConflict(err error) bool {
	// A JSON patch whose test fails is unprocessable.
	return kube.IsStatus(err, http.StatusConflict) || kube.IsStatus(err, http.StatusUnprocessableEntity)
}

// keep looks at both objects, and changes what is not as it ought to be. It returns
// how long nothing has to be done, if nobody else changes anything.
func (a *Authority) keep(ctx context.Context) (time.Duration, error) {
	for try := 1; ; try++ {
		wait, err := a.tryKeep(ctx)
		if !isConflict(err) || try == 5 {
			return wait, err
		}
	}
}

func (a *Authority) tryKeep(ctx context.Context) (time.Duration, error) {
	version, found, err := a.readSecret(ctx)
	if err != nil {
		return 0, err
	}
	now := a.config.Now()
	wanted, reason := found, ""
	idle := version == a.idle.secret && now.Before(a.idle.until)
	if !idle {
		if wanted, err = a.rules.follow(found, now, a.known); err != nil {
			return 0, err
		}
		if !wanted.equal(found) {
			reason = "another program replaced the authority"
		}
		// At once, before anything else is asked or written: whoever replaced the authority
		// is about to replace the caBundle, and from then on callers refuse the former certificate.
		a.serve(wanted, now)
	}
	configuration, err := a.readConfiguration(ctx)
	if err != nil {
		return 0, err
	}
	if idle && configuration.version() == a.idle.configuration {
		return a.wait(now), nil
	}
	wanted, renewed, err := a.rules.renew(ctx, wanted, now, a.known, configuration.trusted())
	if err != nil {
		return 0, err
	}
	if renewed != "" {
		reason = renewed
	}
	if reason != "" {
		if version, err = a.writeSecret(ctx, version, wanted, reason); err != nil {
			return 0, err
		}
		a.serve(wanted, now)
	}
	if a.known, err = wanted.signer(); err != nil {
		return 0, err
	}
	served, err := a.Current()
	if err != nil {
		return 0, err
	}
	a.setTrust(configuration.accepts(a.rules, served, now))
	if configuration.replace(wanted.caCert) {
		if err := a.writeConfiguration(ctx, configuration); err != nil {
			return 0, err
		}
		a.setTrust(configuration.accepts(a.rules, served, now))
	}
	a.idle.secret, a.idle.configuration = version, configuration.version()
	if a.idle.until, err = a.rules.due(wanted, served); err != nil {
		return 0, err
	}
	return a.wait(now), nil
}

// wait is how long to wait for what is due.
func (a *Authority) wait(now time.Time) time.Duration {
	return max(time.Second, min(a.idle.until.Sub(now), longestWait))
}

// serve serves the material's certificate if it is good now, else goes on with the
// one before.
func (a *Authority) serve(m material, now time.Time) {
	next, err := a.rules.serving(m, certificates(m.caCert), now)
	if err != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.served != nil && slices.EqualFunc(a.served.Certificate, next.Certificate, bytes.Equal) {
		return
	}
	a.served = next
	a.config.Served(next.Leaf.NotAfter)
	a.config.Logger.Info("own certificate served", "notAfter", next.Leaf.NotAfter, "names", a.rules.names, "serial", next.Leaf.SerialNumber.Text(16))
}

func (a *Authority) setTrust(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.trust = err
}
