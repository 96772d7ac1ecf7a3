// Command proxy measures azwi-proxy against its budgets, or with -soak runs it
// under load for a long time and watches its memory.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"azwi/test/product"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// roles are what this binary is when it starts itself: on a core of its own.
const (
	bareRole = "serve-bare"
	loadRole = "load"
)

func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case len(args) > 0 && args[0] == bareRole:
		err = serveBare(ctx, stdout, os.Stdin)
	case len(args) > 0 && args[0] == loadRole:
		err = generate(ctx, args[1:], stdout)
	default:
		fs := flag.NewFlagSet("proxy", flag.ContinueOnError)
		fs.SetOutput(stderr)
		b := &bench{out: stdout}
		fs.DurationVar(&b.settle, "settle", time.Minute, "time between the first exchange and the memory figure")
		fs.DurationVar(&b.round, "round", 4*time.Second, "length of each round of load; there are three for each server")
		fs.DurationVar(&b.soak, "soak", 0, "instead: run under load for so long")
		fs.IntVar(&b.rate, "rate", 2000, "requests per second of the soak")
		if fs.Parse(args) != nil {
			return 2
		}
		err = b.all(ctx)
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}

type bench struct {
	out           io.Writer
	settle, round time.Duration
	soak          time.Duration
	rate          int

	dir, binary string
	entra       *fakeEntra
	missed      []string
}

func (b *bench) all(ctx context.Context) error {
	var err error
	if b.dir, err = os.MkdirTemp("", "azwi-bench-proxy-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if b.binary, err = product.Build(ctx, b.dir, "azwi-proxy", false); err != nil {
		return err
	}
	if b.entra, err = newFakeEntra(b.dir); err != nil {
		return err
	}
	defer b.entra.Close()
	if b.soak > 0 {
		return errors.Join(b.runSoak(ctx), b.verdict())
	}
	for _, measure := range []func(context.Context) error{b.size, b.startToReady, b.single, b.memory, b.throughput} {
		if err := measure(ctx); err != nil {
			return err
		}
	}
	return b.verdict()
}

func (b *bench) verdict() error {
	if len(b.missed) > 0 {
		return fmt.Errorf("missed: %v", b.missed)
	}
	return nil
}

// report prints a figure beside its budget.
func (b *bench) report(name string, value float64, unit string, atMost bool, budget float64) {
	ok, word := value <= budget, "at most"
	if !atMost {
		ok, word = value >= budget, "at least"
	}
	mark := "ok"
	if !ok {
		mark = "MISSED"
		b.missed = append(b.missed, name)
	}
	fmt.Fprintf(b.out, "%-52s %10.2f %-8s (%s %g) %s\n", name, value, unit, word, budget, mark)
}

func (b *bench) size(context.Context) error {
	info, err := os.Stat(b.binary)
	if err != nil {
		return err
	}
	b.report("binary, stripped", float64(info.Size())/(1<<20), "MiB", true, 12)
	return nil
}

func (b *bench) startToReady(ctx context.Context) error {
	var times []float64
	for range 15 {
		s, err := b.start(ctx)
		if err != nil {
			return err
		}
		times = append(times, s.ready.Seconds()*1000)
		if err := s.stop(); err != nil {
			return err
		}
	}
	slices.Sort(times)
	b.report("start to ready, median of 15", times[len(times)/2], "ms", true, 25)
	return nil
}

// single asks with 1000 clients at once for one new token.
func (b *bench) single(ctx context.Context) error {
	s, err := b.start(ctx)
	if err != nil {
		return err
	}
	b.entra.reset(500 * time.Millisecond)
	failed, busy := s.askAtOnce(ctx, 1000)
	total, most := b.entra.counts()
	b.entra.reset(0)
	b.report("failures of 1,000 clients who ask at once", float64(failed), "", true, 0)
	b.report("times that they were told to try again", float64(busy), "", false, 0)
	b.report("exchanges for them", float64(total), "", true, 1)
	b.report("exchanges in flight at the same time", float64(most), "", true, 1)
	return s.stop()
}

func (b *bench) memory(ctx context.Context) error {
	s, err := b.start(ctx)
	if err != nil {
		return err
	}
	idle, err := s.resident()
	if err != nil {
		return err
	}
	fmt.Fprintf(b.out, "%-52s %10.2f MiB\n", "resident before the first exchange", idle)
	if err := s.ask(ctx, "first"); err != nil {
		return err
	}
	select {
	case <-time.After(b.settle):
	case <-ctx.Done():
		return ctx.Err()
	}
	after, err := s.resident()
	if err != nil {
		return err
	}
	b.report(fmt.Sprintf("resident %s after the first exchange", b.settle), after, "MiB", true, 12)
	if err := s.askMany(ctx, 100_000, 100); err != nil {
		return err
	}
	after, err = s.resident()
	if err != nil {
		return err
	}
	b.report("resident after 100,000 requests, 100 identities", after, "MiB", true, 20)
	return s.stop()
}

// throughput alternates between the proxy and a bare handler on one core; the
// load comes from the other.
func (b *bench) throughput(ctx context.Context) error {
	s, err := b.start(ctx)
	if err != nil {
		return err
	}
	body, err := s.body(ctx, "first")
	if err != nil {
		return err
	}
	bare, err := b.startBare(body)
	if err != nil {
		return err
	}
	rates := map[*server][]float64{}
	p99 := map[*server][]float64{}
	for range 3 {
		for _, target := range []*server{s, bare} {
			result, err := b.load(target, b.round)
			if err != nil {
				return err
			}
			rates[target] = append(rates[target], result.PerSecond)
			p99[target] = append(p99[target], result.P99)
		}
	}
	fmt.Fprintf(b.out, "%-52s %10.0f /s, p99 %.2f ms\n", "cached requests, 32 connections, one core", median(rates[s]), median(p99[s]))
	fmt.Fprintf(b.out, "%-52s %10.0f /s, p99 %.2f ms\n", "a bare net/http handler that writes the same", median(rates[bare]), median(p99[bare]))
	b.report("share of the bare handler", 100*median(rates[s])/median(rates[bare]), "%", false, 70)
	return errors.Join(s.stop(), bare.stop())
}

// runSoak compares the memory after the first tenth with that at the end.
func (b *bench) runSoak(ctx context.Context) error {
	s, err := b.start(ctx)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(b.soak)
	var figures []float64
	next := time.Now()
	var done, failed int
	for time.Now().Before(deadline) {
		n, bad, err := s.askFor(ctx, b.rate, b.soak/20)
		if err != nil {
			return err
		}
		done, failed = done+n, failed+bad
		r, err := s.resident()
		if err != nil {
			return err
		}
		figures = append(figures, r)
		fmt.Fprintf(b.out, "%8s %10d requests %6d failed %8.2f MiB resident\n", time.Since(next).Round(time.Second), done, failed, r)
	}
	b.report("failed requests", float64(failed), "", true, 0)
	b.report("requests per second", float64(done)/b.soak.Seconds(), "/s", false, 0.95*float64(b.rate))
	b.report("growth after the first tenth", slices.Max(figures[len(figures)/2:])-slices.Max(figures[:2]), "MiB", true, 2)
	return s.stop()
}

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return values[len(values)/2]
}
