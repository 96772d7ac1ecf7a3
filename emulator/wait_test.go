package emulator_test

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"azwi/emulator/internal/directory"
	"azwi/emulator/internal/random"
	"azwi/emulator/internal/replication"
	"azwi/internal/entra"
	"azwi/internal/propagation"
)

var (
	figures   = flag.Bool("figures", false, "print the table of docs/decisions/2026-11-24-waiting.md")
	firstSeed = flag.Uint64("first-seed", 1_000_001, "seed of the first run of each row")
	firstTry  = flag.Duration("first-try", 0, "another first try than azwi's own")
)

// A scale is what the default model is multiplied by.
type scale struct{ delay, replicas, memory float64 }

func (s scale) String() string {
	return fmt.Sprintf("delays x %g, replicas x %g, memory x %g", s.delay, s.replicas, s.memory)
}

func (s scale) settings() replication.Settings {
	d := replication.DefaultSettings()
	times := func(t time.Duration, by float64) time.Duration { return time.Duration(float64(t) * by) }
	return replication.Settings{
		Replicas: max(1, int(float64(d.Replicas)*s.replicas+0.5)), MinDelay: times(d.MinDelay, s.delay), MaxDelay: times(d.MaxDelay, s.delay),
		MissMemory: times(d.MissMemory, s.memory),
	}
}

// A world is one credential in the replication model, under a clock that moves
// only when somebody sleeps.
type world struct {
	model *replication.Model
	start time.Time

	mu    sync.Mutex
	now   time.Time
	truth time.Duration // when it was or will be ready, given what was asked so far
}

const (
	waitClient, waitIssuer, waitSubject = "client", "https://issuer.example", "system:serviceaccount:shop:orders"
)

func (w *world) credential() directory.Credential {
	return directory.Credential{Name: "web", Issuer: waitIssuer, Subject: waitSubject, Audience: "api://AzureADTokenExchange"}
}

func newWorld(s scale, seed uint64) *world {
	w := &world{start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	w.now = w.start
	w.model = replication.New(s.settings(), random.New(seed, "replication"), w.clock)
	c := w.credential()
	w.model.Changed(waitClient, nil, &c)
	w.look()
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) sleep(_ context.Context, d time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
	return nil
}

// look notes the truth, which the waiter never sees.
func (w *world) look() {
	if at := w.model.Status(waitClient).TrueReadyAt; !at.IsZero() {
		w.mu.Lock()
		w.truth = at.Sub(w.start)
		w.mu.Unlock()
	}
}

// ask is a token request, as emulator/internal/sts treats its assertion.
func (w *world) ask(context.Context) error {
	view := w.model.Read(waitClient, []directory.Credential{w.credential()})
	if code, ok := view.Remembered(waitIssuer, waitSubject); ok {
		return &entra.Error{Status: 401, Code: code}
	}
	if len(view.Credentials) == 0 {
		view.Remember(waitIssuer, waitSubject, 70025)
		w.look()
		return &entra.Error{Status: 401, Code: 70025}
	}
	return nil
}

// A strategy waits for the world's credential.
type strategy func(ctx context.Context, w *world) (asked int, err error)

func azwiWait(ctx context.Context, w *world) (int, error) {
	waiter := propagation.New(propagation.Config{Now: w.clock, Sleep: w.sleep, FirstTry: *firstTry})
	r := waiter.Wait(ctx, []propagation.Target{{Ask: w.ask}})[0]
	return r.Asked, r.Err
}

// everySecond is the obvious way: ask until a token is given.
func everySecond(ctx context.Context, w *world) (int, error) {
	for asked := 1; ; asked++ {
		if w.ask(ctx) == nil {
			return asked, nil
		}
		_ = w.sleep(ctx, time.Second)
	}
}

// An outcome is what many runs came to.
type waitOutcome struct {
	succeeded       float64 // share of the next 100 requests, all runs together
	steady          float64 // share of the runs in which 99 or more of them did
	worst           int     // the fewest that did in any run
	ready           time.Duration
	untouched, real time.Duration // medians of the truth: had nobody asked, and as it came to be
	ratio, realised float64       // medians of ready by the two
	asked           float64
	asTold          int // runs
}

func measure(t testing.TB, s scale, runs int, seed uint64, how strategy) waitOutcome {
	t.Helper()
	var o waitOutcome
	var ready, untouched, real []time.Duration
	var ratio, realised []float64
	o.worst = 100
	for i := range runs {
		w := newWorld(s, seed+uint64(i))
		best := w.truth
		asked, err := how(t.Context(), w)
		if err != nil {
			t.Fatalf("%v, seed %d: %v", s, seed+uint64(i), err)
		}
		took, truth := w.clock().Sub(w.start), w.truth
		good := 0
		for range 100 {
			if w.ask(t.Context()) == nil {
				good++
			}
		}
		o.succeeded += float64(good) / 100
		if good >= 99 {
			o.steady++
		}
		o.worst = min(o.worst, good)
		o.asked += float64(asked)
		ready, untouched, real = append(ready, took), append(untouched, best), append(real, truth)
		ratio, realised = append(ratio, took.Seconds()/best.Seconds()), append(realised, took.Seconds()/truth.Seconds())
	}
	n := float64(runs)
	o.succeeded, o.steady, o.asked, o.asTold = o.succeeded/n, o.steady/n, o.asked/n, runs
	o.ready, o.untouched, o.real, o.ratio, o.realised = middle(ready), middle(untouched), middle(real), middle(ratio), middle(realised)
	return o
}

func middle[T time.Duration | float64](list []T) T {
	slices.Sort(list)
	return list[len(list)/2]
}

func scales() []scale {
	list := []scale{{1, 1, 1}}
	for _, x := range []float64{0.2, 0.5, 2, 5} {
		list = append(list, scale{x, 1, 1}, scale{1, x, 1}, scale{1, 1, x})
	}
	for _, d := range []float64{0.2, 5} {
		for _, r := range []float64{0.2, 5} {
			for _, m := range []float64{0.2, 5} {
				list = append(list, scale{d, r, m})
			}
		}
	}
	return list
}

func TestWaitFigures(t *testing.T) {
	if !*figures {
		t.Skip("-figures prints them")
	}
	fmt.Println("| delays | replicas | memory | who | next 100 ok | runs >= 99 | worst | ready p50 | truth untouched p50 | ratio | truth p50 | ratio | requests |")
	for _, s := range scales() {
		for _, who := range []struct {
			name string
			how  strategy
		}{{"wait", azwiWait}, {"naive", everySecond}} {
			o := measure(t, s, 200, *firstSeed, who.how)
			fmt.Printf("| %g | %g | %g | %s | %.2f %% | %.1f %% | %d | %.1f s | %.1f s | %.2f | %.1f s | %.2f | %.0f |\n", s.delay, s.replicas, s.memory, who.name,
				100*o.succeeded, 100*o.steady, o.worst, o.ready.Seconds(), o.untouched.Seconds(), o.ratio, o.real.Seconds(), o.realised, o.asked)
		}
	}
}
