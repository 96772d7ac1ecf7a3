package propagation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"azwi/internal/finding"
	"azwi/internal/token/entra"
)

// The schedule. Times count from when the credential was written.
const (
	// firstTry is when the first token is asked for. Earlier is a gamble: a miss is
	// remembered for minutes.
	firstTry = 2 * time.Second
	// quiet times firstTry is when to ask next after a miss. The miss is remembered
	// for longer than that, so nothing is lost by leaving the directory alone until
	// the rest of it has learned.
	quiet = 5
	// growth of the time between later tries, as a share of the time waited so far:
	// half of it is lost at the end on average.
	growth = 0.15
	// maxPause bounds that time.
	maxPause = 30 * time.Second

	// enough successes in a row prove a credential that was never missed: one copy
	// of fifteen that does not know it would be met with a probability of 98.4 %,
	// one of six with 99.998 %.
	enough = 60
	// enoughAfter is what proves one that was: while misses are remembered there
	// are many chances to overlook them.
	enoughAfter = 100
	// perMiss is how many times the number of requests from one miss to the next
	// must succeed in a row: e^-8, 0.03 %, is the probability of overlooking a part
	// of the directory that still misses.
	perMiss = 8
	// together is how many tokens are asked for at once, after the first ones
	// were given.
	together = 8

	// newIdentity is how long an identity that was just made may be unknown.
	newIdentity = 2 * time.Minute
	// patience with faults of the network, and of what Entra needs from elsewhere.
	patience = time.Minute
	// grace is how long the last series of successes may last after the deadline.
	grace = 10 * time.Second
	// minFaultPause and maxFaultPause bound the time after a fault without
	// Retry-After.
	minFaultPause, maxFaultPause = time.Second, 10 * time.Second
)

// budget bounds the successes in a row that many targets need together: each
// needs fewer, but fewest at least.
const (
	budget = 1200
	fewest = 20
)

// errUnsteady is why there is no result in time although no request failed.
var errUnsteady = errors.New("tokens are given, but slowly")

// ErrTimeout says that a credential does not work steadily yet.
var ErrTimeout = errors.New("not usable in time")

// Config of a Waiter.
type Config struct {
	// Timeout of a Wait. Default: 15 min.
	Timeout time.Duration
	// FirstTry is how long after the credential was written the first token is
	// asked for. Default: 2 s.
	FirstTry time.Duration
	// Asks is how many token requests are under way at most. Default: 16.
	Asks int
	// Now is the clock. Default: time.Now.
	Now func() time.Time
	// Sleep returns after d, or with the context's error. Default: a timer.
	Sleep func(ctx context.Context, d time.Duration) error
	// Progress is told what goes on, from many goroutines at once. Default: nobody.
	Progress func(Progress)
}

// A Target is a credential to wait for.
type Target struct {
	// Name for people.
	Name string
	// Written is when the credential was. Default: when Wait is called.
	Written time.Time
	// New says that the identity was just made too, so that it may be unknown for a
	// while.
	New bool
	// Ask asks for one token. An error that wraps *entra.Error is judged by its
	// class; any other is the network's, unless it wraps ErrAsk.
	Ask func(context.Context) error
}

// ErrAsk marks errors of Ask that no waiting mends: there is nothing to ask with.
var ErrAsk = errors.New("no token can be requested")

// Progress is the state of one target.
type Progress struct {
	// Target is its index, Name its name.
	Target int
	Name   string
	// Next is when the next token will be asked for; zero while asking.
	Next time.Time
	// Streak of Need successes are seen so far.
	Streak, Need int
	// Err is why the last request failed, nil if it did not.
	Err error
	// Done says that it is over.
	Done bool
}

// A Result is how waiting for one target ended.
type Result struct {
	// Err is nil if the credential works; it wraps ErrTimeout if it does not work
	// yet, and otherwise is what no waiting mends.
	Err error
	// Waited counts from when the credential was written.
	Waited time.Duration
	// Asked and Missed are numbers of token requests: all, and those that met a
	// part of the directory which did not know the credential.
	Asked, Missed int
	// Streak is how many of them succeeded in a row at the end.
	Streak int
}

// A Waiter waits. Make it with New.
type Waiter struct{ config Config }

// New returns a Waiter.
func New(c Config) *Waiter {
	if c.Timeout <= 0 {
		c.Timeout = 15 * time.Minute
	}
	if c.FirstTry <= 0 {
		c.FirstTry = firstTry
	}
	if c.Asks <= 0 {
		c.Asks = 16
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Sleep == nil {
		c.Sleep = sleep
	}
	if c.Progress == nil {
		c.Progress = func(Progress) {}
	}
	return &Waiter{c}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Wait waits for all targets side by side and returns a result for each, in their
// order. When ctx ends, its error is that of the targets that are not done.
func (w *Waiter) Wait(ctx context.Context, targets []Target) []Result {
	results := make([]Result, len(targets))
	shared := &shared{asks: make(chan struct{}, w.config.Asks)}
	deadline := w.config.Now().Add(w.config.Timeout)
	var all sync.WaitGroup
	for i, target := range targets {
		if target.Written.IsZero() {
			target.Written = w.config.Now()
		}
		one := &wait{
			Waiter: w, shared: shared, index: i, target: target, deadline: deadline,
			need: min(enough, max(fewest, budget/len(targets))),
		}
		all.Go(func() {
			err := one.run(ctx)
			one.err = err
			one.report(time.Time{}, true)
			results[i] = Result{Err: err, Waited: w.config.Now().Sub(target.Written), Asked: one.asked, Missed: one.missed, Streak: one.streak}
		})
	}
	all.Wait()
	return results
}

// shared is what the targets of one Wait have in common.
type shared struct {
	asks chan struct{} // holds one for each request under way
	// slow is set by the first miss of any target: this directory takes longer, so
	// that targets which have not asked yet hold back.
	slow atomic.Bool
}

// A wait is for one target.
type wait struct {
	*Waiter
	*shared
	index    int
	target   Target
	deadline time.Time
	need     int // successes in a row, as long as nothing was missed

	asked, missed int
	streak        int       // successes in a row
	firstMiss     int       // asked at that time
	perMiss       int       // requests from one miss to the next, on average
	faults        int       // in a row
	faulty        time.Time // since when
	err           error     // the last failure
}

// An outcome of token requests; the larger one counts for more.
type outcome int

const (
	given outcome = iota
	faulted
	missed
	hopeless
)

// run asks one by one at first, since a miss costs minutes, and after successes
// more and more at once.
func (t *wait) run(ctx context.Context) error {
	next, n := t.target.Written.Add(t.config.FirstTry), 1
	for {
		if err := t.until(ctx, next); err != nil {
			return err
		}
		if held := t.quietUntil(); t.asked == 0 && t.slow.Load() && t.config.Now().Before(held) {
			next = held
			continue
		}
		outcome, err := t.ask(ctx, min(n, t.wanted()-t.streak))
		now := t.config.Now()
		switch outcome {
		case given:
			if t.streak >= t.wanted() {
				return nil
			}
			next, n = now, min(2*n, together)
		case missed:
			next, n = t.afterMiss(now), 1
		case faulted:
			pause, ok := t.afterFault(err, now)
			if !ok {
				return err
			}
			next, n = now.Add(pause), 1
		case hopeless:
			return err
		}
		if err != nil {
			t.err = err
		}
		if now.After(t.deadline.Add(grace)) || err != nil && !now.Before(t.deadline) {
			return fmt.Errorf("%w: %w", ErrTimeout, cmp.Or(t.err, errUnsteady))
		}
	}
}

// until sleeps until a time, but not beyond the deadline.
func (t *wait) until(ctx context.Context, next time.Time) error {
	if next.After(t.deadline) {
		next = t.deadline
	}
	d := next.Sub(t.config.Now())
	if d <= 0 {
		t.report(time.Time{}, false)
		return ctx.Err()
	}
	t.report(next, false)
	return t.config.Sleep(ctx, d)
}

func (t *wait) quietUntil() time.Time { return t.target.Written.Add(quiet * t.config.FirstTry) }

// wanted is the streak that proves the credential.
func (t *wait) wanted() int {
	if t.missed == 0 {
		return t.need
	}
	return max(t.need*enoughAfter/enough, perMiss*t.perMiss)
}

// ask asks for n tokens at once. The error is one of those that count for most.
func (t *wait) ask(ctx context.Context, n int) (outcome, error) {
	answers := make(chan error, n)
	for range n {
		go func() {
			select {
			case t.asks <- struct{}{}:
				defer func() { <-t.asks }()
				answers <- t.target.Ask(ctx)
			case <-ctx.Done():
				answers <- ctx.Err()
			}
		}()
	}
	worst, worstErr, good := given, error(nil), 0
	for range n {
		err := <-answers
		t.asked++
		o := t.outcome(ctx, err)
		switch o {
		case given:
			good++
		case missed:
			t.miss()
		}
		if o > worst {
			worst, worstErr = o, err
		}
	}
	switch worst {
	case given:
		t.faults = 0
		t.streak += good
	case faulted:
		t.streak += good // a fault says nothing about the credential
	default:
		t.streak = 0
	}
	return worst, worstErr
}

func (t *wait) miss() {
	t.slow.Store(true)
	t.faults = 0
	if t.missed++; t.missed == 1 {
		t.firstMiss = t.asked
		return
	}
	t.perMiss = (t.asked - t.firstMiss) / (t.missed - 1)
}

func (t *wait) outcome(ctx context.Context, err error) outcome {
	if err == nil {
		return given
	}
	if ctx.Err() != nil || errors.Is(err, ErrAsk) {
		return hopeless
	}
	answer, ok := errors.AsType[*entra.Error](err)
	if !ok {
		return faulted
	}
	switch answer.Class() {
	case finding.Transient:
		return faulted
	case finding.Replication:
		return missed
	}
	if (answer.Code == finding.AADSTSUnknownClient || answer.Code == finding.AADSTSNoPrincipal) && t.target.New && t.config.Now().Sub(t.target.Written) < newIdentity {
		return missed
	}
	return hopeless
}

// afterMiss is when to ask next.
func (t *wait) afterMiss(now time.Time) time.Time {
	next := now.Add(min(time.Duration(growth*float64(now.Sub(t.target.Written))), maxPause))
	if held := t.quietUntil(); next.Before(held) {
		return held
	}
	return next
}

// afterFault is how long to wait after an error that will pass by itself; not ok
// says that it had time enough to do so.
func (t *wait) afterFault(err error, now time.Time) (pause time.Duration, ok bool) {
	if t.faults++; t.faults == 1 {
		t.faulty = now
	}
	answer, answered := errors.AsType[*entra.Error](err)
	if answered && answer.RetryAfter > 0 {
		return answer.RetryAfter, true
	}
	overloaded := answered && (answer.Status == http.StatusTooManyRequests || answer.Status >= http.StatusInternalServerError)
	return min(minFaultPause<<min(t.faults-1, 8), maxFaultPause), overloaded || now.Sub(t.faulty) < patience
}

func (t *wait) report(next time.Time, done bool) {
	t.config.Progress(Progress{
		Target: t.index, Name: t.target.Name, Next: next, Streak: t.streak, Need: t.wanted(), Err: t.err, Done: done,
	})
}
