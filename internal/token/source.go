package token

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"azwi/internal/finding"
	"azwi/internal/token/entra"
)

// A Key names one access token.
type Key struct {
	Authority string `json:"authority"`
	TenantID  string `json:"tenantID"`
	ClientID  string `json:"clientID"`
	Resource  string `json:"resource"`
	Claims    string `json:"claims,omitempty"`
}

// identity is the part of a key that federated credentials belong to.
func (k Key) identity() Key {
	k.Resource, k.Claims = "", ""
	return k
}

// How often to ask.
const (
	// A first try that failed quickly may have met a connection that had died.
	secondTryWithin = 5 * time.Second
	secondTryPause  = 250 * time.Millisecond

	// While a token is still good.
	minRefreshPause = 30 * time.Second
	maxRefreshPause = 5 * time.Minute

	// While there is none, and callers wait.
	minPause = time.Second
	maxPause = 30 * time.Second
	// Permanent errors are remembered for so long.
	permanentPause = time.Minute
	// A new credential spreads more slowly if it is asked for too often.
	replicationPause = 15 * time.Second

	// Retry-After is obeyed up to this.
	maxRetryAfter = 5 * time.Minute
)

// Config of a Source.
type Config struct {
	// Exchange gets a new token. Required. It must end by itself some time, and
	// is not called twice at once for the same key. Errors that are no
	// *entra.Error count as transient.
	Exchange func(context.Context, Key) (entra.Token, error)
	// ReplicationGrace is how long after the first miss of an identity a missing
	// federated credential is taken for one that has yet to spread. Default: 2 min;
	// negative: not at all.
	ReplicationGrace time.Duration
	// MaxTokens bounds the good tokens; beyond it one goes that was served only
	// once, or else the one unused for longest. Failures take no token's place.
	// Default: 1000.
	MaxTokens int
	// MaxWaiters bounds the calls of Get that wait for an exchange. Default: 1000.
	MaxWaiters int
	// CacheFile keeps tokens over a restart of the process, in a file for its
	// owner alone. Default: none.
	CacheFile string
	// Now is the wall clock, for what is told to callers and kept in the file.
	// Default: time.Now.
	Now func() time.Time
	// Elapsed is a clock that never jumps; a token's age is measured by it. It
	// should count the time that the machine sleeps. Default: Go's monotonic
	// clock, which does not.
	Elapsed func() time.Duration
	// Random returns numbers in [0, 1). Default: math/rand/v2.
	Random func() float64
	// Logger defaults to none.
	Logger *slog.Logger
}

// A Source hands out tokens. It is safe for concurrent use.
type Source struct {
	config Config
	ctx    context.Context //nolint:containedctx // exchanges outlive the callers that began them

	mu      sync.Mutex
	entries map[Key]*entry
	missing map[Key]*miss // by identity
	waiting int
	// Places for exchanges of tokens that callers wait for, and of good ones.
	first, renewal *lane

	saving sync.Mutex
}

// An entry is all that is known of one key. Source.mu guards it.
type entry struct {
	key      Key
	token    entra.Token // zero value: none
	issued   time.Duration
	expires  time.Duration
	refresh  time.Duration // when to ask for the next one
	used     bool          // since issued
	again    bool          // served from the cache at least once
	lastUsed time.Duration
	timer    *time.Timer
	flight   *flight
	failures int // in a row
	err      error
	pause    time.Duration // until when err is the answer
}

// A flight is an exchange under way. Its result is set before done is closed.
type flight struct {
	done  chan struct{}
	lane  *lane
	token Token
	err   *Error
}

// A miss is a federated credential that Entra does not find (yet).
type miss struct {
	since, next time.Duration
	err         error
}

// New returns a Source, with the tokens of the cache file if there are any.
// Exchanges and refreshing end with ctx.
func New(ctx context.Context, c Config) (*Source, error) {
	if c.Exchange == nil {
		return nil, errors.New("token source: Exchange is required")
	}
	if c.ReplicationGrace == 0 {
		c.ReplicationGrace = 2 * time.Minute
	}
	if c.MaxTokens <= 0 {
		c.MaxTokens = 1000
	}
	if c.MaxWaiters <= 0 {
		c.MaxWaiters = 1000
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Elapsed == nil {
		start := time.Now()
		c.Elapsed = func() time.Duration { return time.Since(start) }
	}
	if c.Random == nil {
		c.Random = rand.Float64
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Source{config: c, ctx: ctx, entries: map[Key]*entry{}, missing: map[Key]*miss{}, first: newLane(maxExchanges), renewal: newLane(maxRenewals)}
	if c.CacheFile != "" {
		s.load()
	}
	return s, nil
}

// A Token is one to hand out.
type Token struct {
	entra.Token
	// Issued and Expires are by the wall clock as it is now.
	Issued, Expires time.Time
	// Remaining is how long the token is still good.
	Remaining time.Duration
	// Stale: the last attempt to refresh the token failed.
	Stale bool
}

// An Error says why there is no token.
type Error struct {
	// Class says whether trying again may help.
	Class finding.Class
	// RetryAfter is when it may: nothing is asked before. 0 if Class is Permanent.
	RetryAfter time.Duration
	// Err is the cause; an *entra.Error if Entra answered.
	Err error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Get returns a token, from the cache if one is good. Otherwise it waits for the
// exchange until ctx ends; the exchange goes on then. The error is an *Error, which
// matches ErrBusy if more is asked for than may be, or ctx's.
func (s *Source) Get(ctx context.Context, k Key) (Token, error) {
	t, f, err := s.find(k)
	if f == nil {
		return t, err
	}
	defer s.left()
	select {
	case <-f.done:
	case <-ctx.Done():
		return Token{}, ctx.Err()
	}
	if f.err != nil {
		return Token{}, f.err
	}
	return f.token, nil
}

// find returns a good token, an error, or the exchange to wait for: then the caller
// calls left afterwards.
func (s *Source) find(k Key) (Token, *flight, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.config.Elapsed()
	e := s.entries[k]
	if e != nil {
		e.lastUsed = now
		if e.good(now) {
			e.used, e.again = true, true
			if now >= e.refresh && e.flight == nil && !s.held(e, now) {
				s.renew(e, now)
			}
			return s.handOut(e, now), nil, nil
		}
	}
	if e == nil || e.flight == nil {
		if err := s.refused(k, e, now); err != nil {
			return Token{}, nil, err
		}
	}
	busy := &Error{Class: finding.Transient, RetryAfter: busyPause, Err: ErrBusy}
	if s.waiting >= s.config.MaxWaiters {
		return Token{}, nil, busy
	}
	if e == nil || e.flight == nil {
		if !s.first.enter(now) {
			return Token{}, nil, busy
		}
		if e == nil {
			s.makeRoom(false, maxFailures, now)
			e = &entry{key: k, lastUsed: now}
			s.entries[k] = e
		}
		s.begin(e, s.first)
	}
	s.waiting++
	return Token{}, e.flight, nil
}

func (s *Source) left() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting--
}

// handOut is an entry's token as it is now.
func (s *Source) handOut(e *entry, now time.Duration) Token {
	t := Token{Token: e.token, Remaining: max(e.expires-now, 0), Stale: e.failures > 0}
	wall := s.config.Now()
	t.Issued, t.Expires = wall.Add(t.Remaining-t.Lifetime), wall.Add(t.Remaining)
	return t
}

func (e *entry) good(now time.Duration) bool { return e.token.Value != "" && now < e.expires }

// makeRoom drops an entry with a good token, or one without, if there are as many
// of its kind as there may be. One with an exchange under way stays: another could
// begin. Under mu.
func (s *Source) makeRoom(good bool, most int, now time.Duration) {
	n, victim := 0, (*entry)(nil)
	for _, e := range s.entries {
		if e.good(now) != good {
			continue
		}
		n++
		if e.flight == nil && (victim == nil || e.before(victim)) {
			victim = e
		}
	}
	if n >= most && victim != nil {
		s.drop(victim)
	}
}

// before says which of two entries goes first. One that was never asked for again
// goes before the others: many of those are no reason to forget a token in use.
func (e *entry) before(other *entry) bool {
	if e.again != other.again {
		return other.again
	}
	return e.lastUsed < other.lastUsed
}

// drop forgets an entry, and what is known of its identity if it was the last
// one. Under mu.
func (s *Source) drop(e *entry) {
	if e.timer != nil {
		e.timer.Stop()
	}
	delete(s.entries, e.key)
	identity := e.key.identity()
	if s.missing[identity] == nil {
		return
	}
	for k := range s.entries {
		if k.identity() == identity {
			return
		}
	}
	delete(s.missing, identity)
}

// refused is the error to give without asking, nil if it is time to ask. The entry
// of the key may be nil. Under mu.
func (s *Source) refused(k Key, e *entry, now time.Duration) error {
	if m := s.missing[k.identity()]; m != nil && now < m.next {
		return s.missError(m, now)
	}
	if e != nil && e.err != nil && now < e.pause {
		return newError(e.err, classOf(e.err), e.pause-now)
	}
	return nil
}

func (s *Source) missError(m *miss, now time.Duration) *Error {
	class := finding.Replication
	if now-m.since >= s.config.ReplicationGrace {
		class = finding.Permanent
	}
	return newError(m.err, class, m.next-now)
}

func newError(err error, class finding.Class, wait time.Duration) *Error {
	if class == finding.Permanent {
		wait = 0
	}
	return &Error{Class: class, RetryAfter: wait, Err: err}
}

// classOf judges an error; what is not Entra's is the network's or the token
// file's, and passes.
func classOf(err error) finding.Class {
	if answer, ok := errors.AsType[*entra.Error](err); ok {
		return answer.Class()
	}
	return finding.Transient
}

// renew begins the exchange of an entry whose token is good, or puts it off if too
// many are under way. Under mu.
func (s *Source) renew(e *entry, now time.Duration) {
	if s.renewal.enter(now) {
		s.begin(e, s.renewal)
		return
	}
	e.refresh = now + s.spread(busyPause)
	s.schedule(e, now)
}

// begin starts the exchange of an entry that has none under way, in a place of the
// lane that was entered. Under mu.
func (s *Source) begin(e *entry, l *lane) {
	e.flight = &flight{done: make(chan struct{}), lane: l}
	if m := s.missing[e.key.identity()]; m != nil {
		m.next = s.config.Elapsed() + replicationPause // nobody else asks meanwhile
	}
	go s.fly(e)
}

func (s *Source) fly(e *entry) {
	asked := s.config.Elapsed()
	t, err := s.config.Exchange(s.ctx, e.key)
	if err != nil && s.tryAgain(err, asked) {
		asked = s.config.Elapsed()
		t, err = s.config.Exchange(s.ctx, e.key)
	}
	s.mu.Lock()
	f := e.flight
	e.flight = nil
	f.lane.free++
	now := s.config.Elapsed()
	var wait time.Duration
	if err == nil {
		s.succeed(e, t, asked, now)
		f.token = s.handOut(e, now)
		wait = e.refresh - now
	} else {
		f.err, wait = s.fail(e, err, now)
	}
	left := e.expires - now
	s.mu.Unlock()
	close(f.done)

	s.log(e.key, err, wait, left)
	if err == nil && s.config.CacheFile != "" {
		s.save()
	}
}

// log is not called under mu: whoever reads the log may be slow.
func (s *Source) log(k Key, err error, wait, left time.Duration) {
	if s.ctx.Err() != nil {
		return
	}
	attrs := []any{
		"client", k.ClientID, "tenant", k.TenantID, "resource", k.Resource,
		"expiresIn", max(left, 0).Round(time.Second).String(), "nextIn", wait.Round(time.Second).String(),
	}
	if err == nil {
		s.config.Logger.Info("token obtained", attrs...)
		return
	}
	attrs = append(attrs, "class", classOf(err).String(), "error", err)
	if answer, ok := errors.AsType[*entra.Error](err); ok {
		attrs = append(attrs, "status", answer.Status, "code", answer.Code, "correlation", answer.CorrelationID,
			"advice", answer.Advice())
	}
	s.config.Logger.Warn("no new token", attrs...)
}

// tryAgain waits a moment if a second try is due at once: no answer came, and
// quickly.
func (s *Source) tryAgain(err error, asked time.Duration) bool {
	if _, ok := errors.AsType[*entra.Error](err); ok || errors.Is(err, entra.ErrAssertion) || s.config.Elapsed()-asked > secondTryWithin {
		return false
	}
	timer := time.NewTimer(secondTryPause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// succeed takes a new token. Under mu.
func (s *Source) succeed(e *entry, t entra.Token, asked, now time.Duration) {
	ahead := t.Lifetime / 2
	if t.RefreshIn > 0 && t.RefreshIn < t.Lifetime {
		ahead = t.RefreshIn
	}
	// Up to a tenth earlier, so that pods that started together part.
	ahead -= time.Duration(float64(ahead) / 10 * s.config.Random())
	// Somebody waits for this one, unless there was a good one all the time.
	e.used = !e.good(now)
	if e.used {
		s.makeRoom(true, s.config.MaxTokens, now)
	}
	e.token, e.issued, e.expires, e.refresh = t, asked, asked+t.Lifetime, asked+ahead
	e.failures, e.err, e.pause = 0, nil, 0
	delete(s.missing, e.key.identity())
	s.schedule(e, now)
}

// fail notes an error, and says what to tell callers and when to ask again. Under
// mu.
func (s *Source) fail(e *entry, err error, now time.Duration) (*Error, time.Duration) {
	e.failures++
	class := classOf(err)
	var wait time.Duration
	switch {
	case e.good(now):
		// Before it is too late there is one more try.
		wait = min(s.spread(backoff(minRefreshPause, maxRefreshPause, e.failures)), max((e.expires-now)/2, minPause))
	case class == finding.Permanent:
		wait = permanentPause
	default:
		wait = s.spread(backoff(minPause, maxPause, e.failures))
	}
	if answer, ok := errors.AsType[*entra.Error](err); ok {
		wait = max(wait, min(answer.RetryAfter, maxRetryAfter))
	}
	out := newError(err, class, wait)
	e.err, e.pause = err, now+wait
	if class == finding.Replication {
		m := s.noteMiss(e.key.identity(), err, now)
		e.err = nil // the miss speaks for it
		out, wait = s.missError(m, now), max(wait, m.next-now)
	}
	if e.good(now) {
		e.refresh = now + wait
		s.schedule(e, now)
	}
	return out, wait
}

// noteMiss notes that no federated credential of the identity fits. Under mu.
func (s *Source) noteMiss(identity Key, err error, now time.Duration) *miss {
	m := s.missing[identity]
	if m == nil {
		m = &miss{since: now}
		s.missing[identity] = m
	}
	m.err, m.next = err, now+replicationPause
	if now-m.since >= s.config.ReplicationGrace {
		m.next = now + permanentPause
	}
	return m
}

func backoff(least, most time.Duration, failures int) time.Duration {
	return min(least<<min(failures-1, 16), most)
}

// spread shortens a pause by up to a fifth.
func (s *Source) spread(d time.Duration) time.Duration {
	return d - time.Duration(float64(d)/5*s.config.Random())
}

// held puts a refresh off while the identity's credential is missing and was
// asked for a moment ago, with whatever resource. Under mu.
func (s *Source) held(e *entry, now time.Duration) bool {
	m := s.missing[e.key.identity()]
	if m == nil || now >= m.next {
		return false
	}
	e.refresh = m.next
	s.schedule(e, now)
	return true
}

// schedule sets the timer of an entry with a token: to refresh it if it is in
// use, to forget it otherwise. Under mu.
func (s *Source) schedule(e *entry, now time.Duration) {
	if e.timer != nil {
		e.timer.Stop()
	}
	at := e.refresh
	if now >= at {
		at = e.expires
	}
	e.timer = time.AfterFunc(at-now, func() { s.due(e) })
}

// due refreshes a token whose time has come, if somebody used it since it was
// issued; what nobody asks for is not renewed, and forgotten when it expires.
func (s *Source) due(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.config.Elapsed()
	switch {
	case s.ctx.Err() != nil || s.entries[e.key] != e || e.flight != nil:
	case !e.good(now) && e.failures == 0:
		s.drop(e)
	case !e.good(now):
		e.token = entra.Token{} // what is known of the failure stays
	case now >= e.refresh && e.used:
		if !s.held(e, now) {
			s.renew(e, now)
		}
	default:
		s.schedule(e, now)
	}
}

// Soonest is how long the token that expires first is still good; false if there
// is none.
func (s *Source) Soonest() (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.config.Elapsed()
	var soonest time.Duration
	found := false
	for _, e := range s.entries {
		if e.good(now) && (!found || e.expires-now < soonest) {
			soonest, found = e.expires-now, true
		}
	}
	return soonest, found
}
