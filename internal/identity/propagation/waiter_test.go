package propagation_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"azwi/internal/identity/propagation"
	"azwi/internal/token/entra"
)

func refusal(code int) error { return &entra.Error{Status: http.StatusUnauthorized, Code: code} }

// until answers with err until a time after start.
func until(start time.Time, to time.Duration, err error) error {
	if time.Since(start) < to {
		return err
	}
	return nil
}

func TestWait(t *testing.T) {
	t.Parallel()
	network := errors.New("connection refused")
	for _, tt := range []struct {
		name string
		// ask answers at a time since the credential was written.
		ask         func(start time.Time) error
		newIdentity bool
		timeout     time.Duration
		want        error // what the result wraps
		code        int   // AADSTS of the result
		from, to    time.Duration
		asked       int // at most
	}{
		{name: "works at once", ask: func(time.Time) error { return nil }, from: 2 * time.Second, to: 2 * time.Second, asked: 60},
		{
			name: "missed for two minutes", ask: func(s time.Time) error { return until(s, 2*time.Minute, refusal(70025)) },
			from: 2 * time.Minute, to: 150 * time.Second, asked: 150,
		},
		{
			name: "never known", ask: func(time.Time) error { return refusal(700213) }, timeout: 5 * time.Minute,
			want: propagation.ErrTimeout, code: 700213, from: 5 * time.Minute, to: 5 * time.Minute, asked: 40,
		},
		{name: "unknown client", ask: func(time.Time) error { return refusal(700016) }, code: 700016, from: 2 * time.Second, to: 2 * time.Second, asked: 1},
		{
			name: "client that is new", ask: func(s time.Time) error { return until(s, 30*time.Second, refusal(700016)) }, newIdentity: true,
			from: 30 * time.Second, to: 36 * time.Second, asked: 150,
		},
		{
			name: "new client that never comes", ask: func(time.Time) error { return refusal(7000229) }, newIdentity: true,
			code: 7000229, from: 2 * time.Minute, to: 3 * time.Minute, asked: 30,
		},
		{
			name: "throttled", ask: func(s time.Time) error {
				return until(s, 3*time.Minute, &entra.Error{Status: http.StatusTooManyRequests, Code: 90055, RetryAfter: time.Minute})
			}, from: 3 * time.Minute, to: 4 * time.Minute, asked: 70,
		},
		{
			name: "Entra is down for minutes", ask: func(s time.Time) error { return until(s, 4*time.Minute, &entra.Error{Status: 503}) },
			from: 4 * time.Minute, to: 251 * time.Second, asked: 100,
		},
		{name: "Entra stays down", ask: func(time.Time) error { return &entra.Error{Status: 503} }, want: propagation.ErrTimeout, from: 15 * time.Minute, to: 15 * time.Minute, asked: 100},
		{name: "no network for a moment", ask: func(s time.Time) error { return until(s, 20*time.Second, network) }, from: 20 * time.Second, to: 30 * time.Second, asked: 70},
		{name: "no network", ask: func(time.Time) error { return network }, want: network, from: 62 * time.Second, to: 73 * time.Second, asked: 12},
		{
			name: "issuer that Entra does not reach", ask: func(time.Time) error { return &entra.Error{Status: 400, Code: 50166} }, code: 50166,
			from: 62 * time.Second, to: 73 * time.Second, asked: 12,
		},
		{name: "nothing to ask with", ask: func(time.Time) error { return propagation.ErrAsk }, want: propagation.ErrAsk, from: 2 * time.Second, to: 2 * time.Second, asked: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				w := propagation.New(propagation.Config{Timeout: tt.timeout})
				r := w.Wait(t.Context(), []propagation.Target{{New: tt.newIdentity, Ask: func(context.Context) error { return tt.ask(start) }}})[0]
				answer, _ := errors.AsType[*entra.Error](r.Err)
				switch {
				case tt.want == nil && tt.code == 0 && r.Err != nil,
					tt.want != nil && !errors.Is(r.Err, tt.want),
					tt.code != 0 && (answer == nil || answer.Code != tt.code),
					tt.want == nil && errors.Is(r.Err, propagation.ErrTimeout):
					t.Errorf("result %v", r.Err)
				}
				if r.Waited < tt.from || r.Waited > tt.to || r.Asked > tt.asked {
					t.Errorf("after %v and %d requests, want %v to %v and at most %d", r.Waited, r.Asked, tt.from, tt.to, tt.asked)
				}
			})
		})
	}
}

// One in five requests is throttled: the others still prove that it works.
func TestFaultsBetweenSuccesses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		r := propagation.New(propagation.Config{}).Wait(t.Context(), []propagation.Target{{Ask: func(context.Context) error {
			if n.Add(1)%5 == 0 {
				return &entra.Error{Status: http.StatusTooManyRequests, RetryAfter: time.Second}
			}
			return nil
		}}})[0]
		if r.Err != nil || r.Waited > time.Minute || r.Streak < 60 {
			t.Errorf("%+v", r)
		}
	})
}

// A miss that comes back after successes is no end: the streak begins again.
func TestOneOfManyStillMisses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var n atomic.Int64
		r := propagation.New(propagation.Config{}).Wait(t.Context(), []propagation.Target{{Ask: func(context.Context) error {
			if n.Add(1)%15 == 0 {
				return until(start, 2*time.Minute, refusal(700211))
			}
			return nil
		}}})[0]
		if r.Err != nil || r.Waited < 2*time.Minute || r.Waited > 150*time.Second || r.Streak < 100 {
			t.Errorf("%+v", r)
		}
	})
}

// Many targets share the requests, and the first one that is missed holds back
// those that have not asked.
func TestManyTargets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var under, most atomic.Int64
		first := make([]time.Duration, 100)
		targets := make([]propagation.Target, len(first))
		for i := range targets {
			first[i] = -1
			targets[i] = propagation.Target{Written: start.Add(time.Duration(i) * 100 * time.Millisecond), Ask: func(context.Context) error {
				if n := under.Add(1); n > most.Load() {
					most.Store(n)
				}
				defer under.Add(-1)
				if first[i] < 0 { // asked one by one at first
					first[i] = time.Since(start)
				}
				time.Sleep(100 * time.Millisecond) //nolint:forbidigo // how long an answer takes, in the bubble's time
				if i == 0 {
					return until(start, time.Minute, refusal(70025))
				}
				return nil
			}}
		}
		results := propagation.New(propagation.Config{Asks: 8}).Wait(t.Context(), targets)
		for i, r := range results {
			if r.Err != nil {
				t.Errorf("target %d: %v", i, r.Err)
			}
		}
		if most.Load() > 8 {
			t.Errorf("%d requests at once", most.Load())
		}
		if first[0] != 2*time.Second || first[50] < 15*time.Second {
			t.Errorf("first tries %v and %v: those after a miss are to be held back", first[0], first[50])
		}
	})
}

func TestContextEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		var told []propagation.Progress
		w := propagation.New(propagation.Config{Progress: func(p propagation.Progress) { told = append(told, p) }})
		r := w.Wait(ctx, []propagation.Target{{Name: "web", Ask: func(context.Context) error { return refusal(70025) }}})[0]
		if !errors.Is(r.Err, context.DeadlineExceeded) || errors.Is(r.Err, propagation.ErrTimeout) || r.Waited != 30*time.Second {
			t.Errorf("%+v", r)
		}
		if !told[len(told)-1].Done || !slices.ContainsFunc(told, func(p propagation.Progress) bool { return p.Err != nil && !p.Next.IsZero() && p.Name == "web" }) {
			t.Errorf("told %+v", told)
		}
	})
}
