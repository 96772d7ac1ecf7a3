package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"azwi/test/cluster"
)

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case nothingArgument:
			os.Exit(serveNothing(os.Args[2:], os.Stderr))
		case cacheArgument:
			os.Exit(serveCached(os.Args[2:], os.Stderr))
		}
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	b := &bench{out: stdout}
	fs.StringVar(&b.bin, "bin", "../bin", "folder of the product's binaries")
	fs.IntVar(&b.pods, "pods", 1000, "pods created for each latency")
	fs.IntVar(&b.some, "some-accounts", 20_000, "service accounts of the second memory figure")
	fs.IntVar(&b.many, "many-accounts", 100_000, "service accounts of the third memory figure")
	fs.BoolVar(&b.policiesOnly, "policies-only", false, "leave out the other tables")
	if fs.Parse(args) != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := b.all(ctx); err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}

type bench struct {
	out        io.Writer
	bin        string
	pods       int
	some, many int

	policiesOnly bool

	dir     string
	control *cluster.Cluster
	missed  []string
}

func (b *bench) all(ctx context.Context) (err error) {
	if b.dir, err = os.MkdirTemp("", "azwi-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if b.control, err = cluster.Start(ctx, cluster.Config{}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.control.Stop()) }()
	b.say("# make bench, %s, %s %s, %d cores, kube-apiserver %s", time.Now().Format(time.DateOnly), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), cluster.Version)
	if err := b.policies(ctx); err != nil {
		return err
	}
	if !b.policiesOnly {
		if err := b.webhooks(ctx); err != nil {
			return err
		}
	}
	if len(b.missed) == 0 {
		b.say("\nevery target is met")
	}
	for _, m := range b.missed {
		b.say("\nmissed: %s", m)
	}
	return nil
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.out, format+"\n", args...) }

// target prints whether a figure keeps its bound, and notes it if not.
func (b *bench) target(what string, have, most float64, unit string) {
	verdict := "met"
	if have > most {
		verdict = "missed"
		b.missed = append(b.missed, fmt.Sprintf("%s: %.2f%s, target at most %.2f%s", what, have, unit, most, unit))
	}
	b.say("  target %-60s %8.2f%s of at most %.2f%s: %s", what, have, unit, most, unit, verdict)
}
