package token_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"azwi/internal/finding"
	"azwi/internal/token"
	"azwi/internal/token/entra"
)

const day = 24 * time.Hour

// cloud is what the tests' exchanges ask. By default it gives tokens of 24 hours.
type cloud struct {
	mu    sync.Mutex
	err   error
	delay time.Duration
	life  time.Duration
	// refreshIn is passed on.
	refreshIn time.Duration

	calls int
	times []time.Time
}

func (c *cloud) exchange(ctx context.Context, k token.Key) (entra.Token, error) {
	c.mu.Lock()
	c.calls++
	n, err, delay, life := c.calls, c.err, c.delay, c.life
	c.times = append(c.times, time.Now())
	c.mu.Unlock()
	if life == 0 {
		life = day
	}
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return entra.Token{}, ctx.Err()
	}
	if err != nil {
		return entra.Token{}, err
	}
	return entra.Token{Type: "Bearer", Value: fmt.Sprintf("%s-%d", k.Resource, n), Lifetime: life, RefreshIn: c.refreshIn}, nil
}

func (c *cloud) set(err error, delay time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err, c.delay = err, delay
}

func (c *cloud) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls
}

func source(t *testing.T, c token.Config) *token.Source {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	s, err := token.New(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func key(resource string) token.Key {
	return token.Key{Authority: "https://login.example/", TenantID: "tenant", ClientID: "client", Resource: resource}
}

// want gets a token and checks its value.
func want(t *testing.T, s *token.Source, k token.Key, value string) token.Token {
	t.Helper()
	got, err := s.Get(t.Context(), k)
	if err != nil {
		t.Fatalf("after %s: %v", time.Since(start()), err)
	}
	if got.Value != value {
		t.Fatalf("token %q, want %q", got.Value, value)
	}
	return got
}

// pass lets a bubble's time pass.
func pass(d time.Duration) { <-time.After(d) }

// start is when every synctest bubble begins.
func start() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

func refused(t *testing.T, s *token.Source, k token.Key) *token.Error {
	t.Helper()
	got, err := s.Get(t.Context(), k)
	e, ok := errors.AsType[*token.Error](err)
	if !ok {
		t.Fatalf("got token %q and error %v, want a token.Error", got.Value, err)
	}
	return e
}

func aadsts(code, status int) *entra.Error {
	return &entra.Error{Status: status, Code: code, Name: "invalid_client", Description: fmt.Sprintf("AADSTS%d: no", code)}
}

func TestOneExchangeForAllWhoAsk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{delay: time.Second}
		s := source(t, token.Config{Exchange: c.exchange})
		var served atomic.Int32
		for range 1000 {
			go func() {
				if got, err := s.Get(t.Context(), key("r")); err == nil && got.Value == "r-1" {
					served.Add(1)
				}
			}()
		}
		synctest.Wait()
		if n := c.count(); n != 1 {
			t.Errorf("%d exchanges under way, want 1", n)
		}
		pass(2 * time.Second)
		synctest.Wait()
		if n := served.Load(); n != 1000 {
			t.Errorf("%d of 1000 were served", n)
		}
		if n := c.count(); n != 1 {
			t.Errorf("%d exchanges, want 1", n)
		}
	})
}

func TestKeysDoNotMix(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{}
		s := source(t, token.Config{Exchange: c.exchange})
		keys := []token.Key{key("r")}
		for _, change := range []func(*token.Key){
			func(k *token.Key) { k.Authority += "x" }, func(k *token.Key) { k.TenantID += "x" }, func(k *token.Key) { k.ClientID += "x" },
			func(k *token.Key) { k.Resource += "x" }, func(k *token.Key) { k.Claims = "{}" },
		} {
			k := key("r")
			change(&k)
			keys = append(keys, k)
		}
		values := map[string]bool{}
		for range 2 {
			for _, k := range keys {
				got, err := s.Get(t.Context(), k)
				if err != nil {
					t.Fatal(err)
				}
				values[got.Value] = true
			}
		}
		if len(values) != len(keys) || c.count() != len(keys) {
			t.Errorf("%d tokens and %d exchanges for %d keys", len(values), c.count(), len(keys))
		}
	})
}

// The application's requests never meet an outage that begins after the first
// token and ends before it expires.
func TestOutageOfAlmostADay(t *testing.T) {
	t.Parallel()
	for name, outage := range map[string]error{
		"network":    errors.New("connection refused"),
		"503":        &entra.Error{Status: 503},
		"throttled":  &entra.Error{Status: 429, Code: 90055, Name: "x", RetryAfter: 17 * time.Second},
		"token file": entra.ErrAssertion,
		"deleted":    aadsts(700213, 401),
		"permanent":  aadsts(700016, 400),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &cloud{}
				s := source(t, token.Config{Exchange: c.exchange})
				want(t, s, key("r"), "r-1")
				c.set(outage, 0)
				for range int((23*time.Hour + 50*time.Minute) / (6 * time.Second)) {
					pass(6 * time.Second)
					began := time.Now()
					want(t, s, key("r"), "r-1")
					if took := time.Since(began); took != 0 {
						t.Fatalf("an answer from the cache took %s", took)
					}
				}
				if got := want(t, s, key("r"), "r-1"); !got.Stale || got.Remaining > 10*time.Minute || got.Remaining <= 0 {
					t.Errorf("stale %t, remaining %s", got.Stale, got.Remaining)
				}
				// From half of its life on every 30 s to 5 min.
				if n := c.count(); n < 100 || n > 400 {
					t.Errorf("%d exchanges during the outage", n)
				}
				c.set(nil, 0)
				pass(6 * time.Minute)
				synctest.Wait()
				before := c.count()
				got, err := s.Get(t.Context(), key("r"))
				if err != nil || got.Stale || got.Remaining < 23*time.Hour || c.count() != before {
					t.Errorf("after the outage: %v, stale %t, remaining %s", err, got.Stale, got.Remaining)
				}
			})
		})
	}
}

func TestRefreshIsAheadAndInTheBackground(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name            string
		refreshIn, life time.Duration
		random          float64
		want            time.Duration
	}{
		{"half", 0, day, 0, 12 * time.Hour},
		{"jitter", 0, day, 0.5, 12*time.Hour - 36*time.Minute},
		{"as Entra says", 8 * time.Hour, day, 0, 8 * time.Hour},
		{"nonsense from Entra", 48 * time.Hour, day, 0, 12 * time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &cloud{life: tt.life, refreshIn: tt.refreshIn}
				s := source(t, token.Config{Exchange: c.exchange, Random: func() float64 { return tt.random }})
				want(t, s, key("r"), "r-1")
				pass(tt.want - time.Second)
				synctest.Wait()
				if n := c.count(); n != 1 {
					t.Fatalf("%d exchanges before it is time", n)
				}
				pass(time.Second)
				synctest.Wait()
				if gaps := c.gaps(); len(gaps) != 1 || gaps[0] != tt.want {
					t.Fatalf("next exchanges after %v, want one after %s", gaps, tt.want)
				}
			})
		})
	}
}

// What nobody asks for is renewed once and then forgotten.
func TestUnusedTokensLapse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{}
		s := source(t, token.Config{Exchange: c.exchange})
		want(t, s, key("r"), "r-1")
		pass(10 * day)
		synctest.Wait()
		if n := c.count(); n != 2 {
			t.Errorf("%d exchanges in ten days, want 2", n)
		}
		if _, ok := s.Soonest(); ok {
			t.Error("a token is still kept")
		}
		// Asked for again late in its life, it is renewed at once and goes on.
		want(t, s, key("r"), "r-3")
		pass(20 * time.Hour)
		synctest.Wait() // renewed once unasked: r-4
		want(t, s, key("r"), "r-4")
		pass(12 * time.Hour)
		synctest.Wait()
		want(t, s, key("r"), "r-5")
	})
}

func TestReplicationGrace(t *testing.T) {
	t.Parallel()
	for _, code := range []int{70021, 700211, 700212, 700213} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &cloud{err: aadsts(code, 401)}
				s := source(t, token.Config{Exchange: c.exchange})
				// Two resources of one identity, asked for each second.
				for second := range 120 {
					for _, resource := range []string{"r", "q"} {
						e := refused(t, s, key(resource))
						if e.Class != finding.Replication || e.RetryAfter <= 0 || e.RetryAfter > 15*time.Second {
							t.Fatalf("at %d s: class %s, retry after %s", second, e.Class, e.RetryAfter)
						}
					}
					pass(time.Second)
				}
				if n := c.count(); n != 8 {
					t.Errorf("%d exchanges in two minutes, want one per 15 s", n)
				}
				for _, gap := range c.gaps() {
					if gap < 15*time.Second {
						t.Errorf("two exchanges within %s", gap)
					}
				}
				before := c.count()
				for range 120 {
					if e := refused(t, s, key("r")); e.Class != finding.Permanent || e.RetryAfter != 0 {
						t.Fatalf("after the grace: class %s, retry after %s", e.Class, e.RetryAfter)
					}
					pass(time.Second)
				}
				if n := c.count() - before; n != 2 {
					t.Errorf("%d exchanges in two minutes after the grace, want 2", n)
				}
				// The credential is there at last.
				c.set(nil, 0)
				pass(time.Minute)
				if _, err := s.Get(t.Context(), key("r")); err != nil {
					t.Error(err)
				}
				// It counted for the identity, not for the resource.
				if _, err := s.Get(t.Context(), key("q")); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func (c *cloud) gaps() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	var gaps []time.Duration
	for i := 1; i < len(c.times); i++ {
		gaps = append(gaps, c.times[i].Sub(c.times[i-1]))
	}
	return gaps
}

func TestReplicationOtherIdentitiesAreNotHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{err: aadsts(700213, 401)}
		s := source(t, token.Config{Exchange: c.exchange})
		_ = refused(t, s, key("r"))
		c.set(nil, 0)
		other := key("r")
		other.ClientID = "another"
		want(t, s, other, "r-2")
	})
}

func TestGraceCanBeSwitchedOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{err: aadsts(700213, 401)}
		s := source(t, token.Config{Exchange: c.exchange, ReplicationGrace: -1})
		if e := refused(t, s, key("r")); e.Class != finding.Permanent {
			t.Errorf("class %s", e.Class)
		}
	})
}

// The differing case of a subject stays as it is: no grace.
func TestPermanentErrorsAreRememberedForAMinute(t *testing.T) {
	t.Parallel()
	for _, code := range []int{7002138, 700016, 500011} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &cloud{err: aadsts(code, 401)}
				s := source(t, token.Config{Exchange: c.exchange})
				for range 59 {
					if e := refused(t, s, key("r")); e.Class != finding.Permanent {
						t.Fatalf("class %s", e.Class)
					}
					pass(time.Second)
				}
				if n := c.count(); n != 1 {
					t.Errorf("%d exchanges in a minute, want 1", n)
				}
				c.set(nil, 0)
				pass(time.Second)
				want(t, s, key("r"), "r-2")
			})
		})
	}
}

func TestThrottlingIsObeyed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{err: &entra.Error{Status: 429, RetryAfter: 20 * time.Second}}
		s := source(t, token.Config{Exchange: c.exchange})
		for second := range 60 {
			e := refused(t, s, key("r"))
			if left := time.Duration(20-second%20) * time.Second; e.Class != finding.Transient || e.RetryAfter != left {
				t.Fatalf("at %d s: class %s, retry after %s, want %s", second, e.Class, e.RetryAfter, left)
			}
			pass(time.Second)
		}
		if n := c.count(); n != 3 {
			t.Errorf("%d exchanges in a minute, want 3", n)
		}
		// A wait that nobody could live with is cut.
		c.set(&entra.Error{Status: 429, RetryAfter: 10 * time.Hour}, 0)
		if e := refused(t, s, key("r")); e.RetryAfter != 5*time.Minute {
			t.Errorf("retry after %s", e.RetryAfter)
		}
	})
}

// Without a token, a thousand requests a second do not become a thousand
// exchanges, and the end of an outage is seen soon.
func TestOutageBeforeTheFirstToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{err: entra.ErrAssertion}
		s := source(t, token.Config{Exchange: c.exchange})
		for range 600_000 / 10 {
			if e := refused(t, s, key("r")); e.Class != finding.Transient || e.RetryAfter <= 0 || e.RetryAfter > 30*time.Second {
				t.Fatalf("class %s, retry after %s", e.Class, e.RetryAfter)
			}
			pass(10 * time.Millisecond)
		}
		if n := c.count(); n < 20 || n > 40 {
			t.Errorf("%d exchanges in ten minutes", n)
		}
		c.set(nil, 0)
		pass(30 * time.Second)
		if _, err := s.Get(t.Context(), key("r")); err != nil {
			t.Error(err)
		}
	})
}

// A connection that died while idle is no reason to fail.
func TestOneLostConnectionIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		s := source(t, token.Config{Exchange: func(context.Context, token.Key) (entra.Token, error) {
			if calls++; calls == 1 {
				return entra.Token{}, errors.New("connection reset by peer")
			}
			return entra.Token{Value: "v", Lifetime: day}, nil
		}})
		want(t, s, key("r"), "v")
		if calls != 2 {
			t.Errorf("%d exchanges", calls)
		}
	})
}

func TestSlowExchange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{}
		s := source(t, token.Config{Exchange: c.exchange, Random: func() float64 { return 0 }})
		want(t, s, key("r"), "r-1")
		c.set(nil, 30*time.Second)
		pass(12*time.Hour + time.Second) // its refresh is under way
		began := time.Now()
		want(t, s, key("r"), "r-1")
		if took := time.Since(began); took != 0 {
			t.Errorf("the cached token took %s", took)
		}
		// A caller that goes away does not end the exchange for the others.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Get(ctx, key("q")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		before := c.count()
		if _, err := s.Get(t.Context(), key("q")); err != nil {
			t.Error(err)
		}
		if n := c.count(); n != before {
			t.Errorf("%d exchanges more", n-before)
		}
		// Its age counts from when it was asked for.
		if got := want(t, s, key("q"), fmt.Sprintf("q-%d", before)); got.Remaining != day-30*time.Second {
			t.Errorf("remaining %s", got.Remaining)
		}
	})
}

// A step of the wall clock changes neither a token's life nor that expires_on
// fits the clock that the application reads.
func TestWallClockJumps(t *testing.T) {
	t.Parallel()
	for _, jump := range []time.Duration{-30 * day, -time.Hour, time.Hour, 30 * day} {
		t.Run(jump.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &cloud{}
				var offset atomic.Int64
				wall := func() time.Time { return time.Now().Round(0).Add(time.Duration(offset.Load())) }
				s := source(t, token.Config{Exchange: c.exchange, Now: wall})
				want(t, s, key("r"), "r-1")
				pass(time.Hour)
				offset.Store(int64(jump))
				got := want(t, s, key("r"), "r-1")
				if got.Remaining != 23*time.Hour || !got.Expires.Equal(wall().Add(23*time.Hour)) || !got.Issued.Equal(wall().Add(-time.Hour)) {
					t.Errorf("remaining %s, expires %s, issued %s at %s", got.Remaining, got.Expires, got.Issued, wall())
				}
			})
		})
	}
}

// Timers stand still while the machine sleeps, the age of a token does not.
func TestMachineSleeps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{}
		var slept atomic.Int64
		s := source(t, token.Config{Exchange: c.exchange, Elapsed: func() time.Duration {
			return time.Since(start()) + time.Duration(slept.Load())
		}})
		want(t, s, key("r"), "r-1")
		slept.Store(int64(13 * time.Hour))
		want(t, s, key("r"), "r-1") // still good, and renewed meanwhile
		synctest.Wait()
		want(t, s, key("r"), "r-2")
		slept.Store(int64(13*time.Hour + 2*day))
		want(t, s, key("r"), "r-3")
	})
}

func TestTokensAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{}
		s := source(t, token.Config{Exchange: c.exchange, MaxTokens: 3})
		for _, r := range []string{"a", "b", "c"} {
			want(t, s, key(r), fmt.Sprintf("%s-%d", r, c.count()+1))
			pass(time.Second)
		}
		want(t, s, key("a"), "a-1")
		pass(time.Second)
		want(t, s, key("d"), "d-4") // in place of b, unused for longest
		want(t, s, key("a"), "a-1")
		want(t, s, key("c"), "c-3")
		want(t, s, key("b"), "b-5")
	})
}

// Failures take no token's place, however many there are: the good token outlives
// an outage.
func TestFailuresPushNoTokenOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{}
		s := source(t, token.Config{Exchange: c.exchange, MaxTokens: 3})
		for _, r := range []string{"a", "b", "c"} {
			want(t, s, key(r), fmt.Sprintf("%s-%d", r, c.count()+1))
		}
		c.set(aadsts(0, 503), 0)
		for i := range 2000 {
			_ = refused(t, s, key(fmt.Sprintf("typo-%d", i)))
			pass(200 * time.Millisecond)
		}
		if c.count() < 1000 {
			t.Fatalf("%d exchanges: the test shows nothing", c.count())
		}
		for i, r := range []string{"a", "b", "c"} {
			want(t, s, key(r), fmt.Sprintf("%s-%d", r, i+1))
		}
	})
}

// Tokens that somebody asks for again and again outlive those that are asked for
// once, however many they are.
func TestTokensInUseStay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{}
		s := source(t, token.Config{Exchange: c.exchange, MaxTokens: 3})
		want(t, s, key("a"), "a-1")
		want(t, s, key("a"), "a-1")
		for i := range 50 {
			pass(time.Second)
			want(t, s, key(fmt.Sprint(i)), fmt.Sprintf("%d-%d", i, i+2))
		}
		want(t, s, key("a"), "a-1")
	})
}

// A flood of keys makes a bounded number of exchanges, and neither keeps good
// tokens from their callers nor from being renewed.
func TestExchangesAreLimitedInAll(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		delay time.Duration
		most  int // exchanges
	}{
		"quick": {100 * time.Millisecond, 100 + 70*2 + 2},
		"slow":  {45 * time.Second, 64 + 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &cloud{}
				s := source(t, token.Config{Exchange: c.exchange, Random: func() float64 { return 0 }})
				want(t, s, key("good"), "good-1")
				pass(12*time.Hour - 5*time.Second) // it is renewed in the midst of it
				want(t, s, key("good"), "good-1")
				c.set(nil, tt.delay)
				var busy atomic.Int32
				for i := range 9500 {
					go func() {
						if _, err := s.Get(t.Context(), key(fmt.Sprint(i))); errors.Is(err, token.ErrBusy) {
							if e, ok := errors.AsType[*token.Error](err); !ok || e.Class != finding.Transient || e.RetryAfter <= 0 {
								t.Errorf("%+v", e)
							}
							busy.Add(1)
						}
					}()
					if i%95 == 0 {
						pass(140 * time.Millisecond)
						if _, err := s.Get(t.Context(), key("good")); err != nil {
							t.Fatal(err)
						}
					}
				}
				synctest.Wait()
				if n := c.count(); n > tt.most || n < 64 {
					t.Errorf("%d exchanges, want at most %d", n, tt.most)
				}
				if n := int(busy.Load()); n < 9500-tt.most {
					t.Errorf("%d were told to come later", n)
				}
				pass(time.Minute)
				got, err := s.Get(t.Context(), key("good"))
				if err != nil || got.Value == "good-1" {
					t.Errorf("%q was not renewed: %v", got.Value, err)
				}
			})
		})
	}
}

func TestWaitersAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{}
		s := source(t, token.Config{Exchange: c.exchange, MaxWaiters: 2})
		want(t, s, key("good"), "good-1")
		c.set(nil, time.Second)
		for range 2 {
			go s.Get(t.Context(), key("slow")) //nolint:errcheck // its failure shows below
		}
		synctest.Wait()
		if e := refused(t, s, key("slow")); !errors.Is(e, token.ErrBusy) {
			t.Error(e)
		}
		want(t, s, key("good"), "good-1")
		pass(2 * time.Second)
		synctest.Wait()
		want(t, s, key("other"), "other-3")
	})
}

// A credential that was seen to work and is missing again may have been deleted
// and made anew: it has the whole grace again.
func TestGraceBeginsAnewOnceTheCredentialWorked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{err: aadsts(700213, 401), life: time.Hour}
		s := source(t, token.Config{Exchange: c.exchange})
		miss := func(resource string, want finding.Class) {
			t.Helper()
			if e := refused(t, s, key(resource)); e.Class != want {
				t.Errorf("%s at %s: class %s, want %s", resource, time.Since(start()), e.Class, want)
			}
		}
		miss("a", finding.Replication)
		pass(10 * time.Minute)
		miss("a", finding.Permanent)
		pass(time.Minute)
		c.set(nil, 0)
		if _, err := s.Get(t.Context(), key("a")); err != nil {
			t.Fatal(err)
		}
		c.set(aadsts(700213, 401), 0)
		miss("b", finding.Replication)
		pass(10 * time.Minute)
		miss("b", finding.Permanent)
	})
}

// However often the credential is missing while tokens are still good, it is not
// asked for more often than every 15 s, whatever the number of resources.
func TestBackgroundHoldsWhileMissing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{life: time.Hour}
		s := source(t, token.Config{Exchange: c.exchange})
		resources := strings.Fields("a b c d e f g h")
		for _, r := range resources {
			if _, err := s.Get(t.Context(), key(r)); err != nil {
				t.Fatal(err)
			}
			pass(20 * time.Second)
		}
		c.set(aadsts(700213, 401), 0)
		from := len(c.gaps())
		for range 40 * 60 {
			for _, r := range resources {
				if _, err := s.Get(t.Context(), key(r)); err != nil {
					t.Fatal(err)
				}
			}
			pass(time.Second)
		}
		gaps := c.gaps()[from:]
		if len(gaps) < 10 {
			t.Fatalf("%d exchanges: the test shows nothing", len(gaps))
		}
		for _, gap := range gaps {
			if gap < 15*time.Second {
				t.Errorf("two exchanges within %s", gap)
			}
		}
	})
}

func TestEndOfContextEndsExchanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{delay: day}
		ctx, stop := context.WithCancel(t.Context())
		s, err := token.New(ctx, token.Config{Exchange: c.exchange})
		if err != nil {
			t.Fatal(err)
		}
		go stop()
		if e := refused(t, s, key("r")); !errors.Is(e, context.Canceled) {
			t.Errorf("error %v", e)
		}
	})
}
