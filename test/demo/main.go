package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == insideArgument {
		os.Exit(inside(os.Stdin, os.Stderr))
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit code: 0 when all was shown, 1 on failure, 2 for wrong
// arguments, 130 after Ctrl-C. It leaves nothing behind in any case.
func run(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("demo", flag.ContinueOnError)
	fs.SetOutput(stderr)
	bin := fs.String("bin", "bin", "folder of the product's binaries")
	workload := fs.String("workload", ".cache/bin/workload", "the program that runs in the pod")
	playground := fs.String("playground", "", "start everything, write a file env into this folder, and wait for Ctrl-C")
	rewrite := fs.Bool("rewrite-paths", false, "do without a mount namespace, as where there is no right to make one")
	began := fs.Int64("began", time.Now().Unix(), "when the build of all this began, in seconds of Unix")
	if fs.Parse(args) != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	d := &demo{out: stdout, bin: *bin, workload: *workload, began: time.Unix(*began, 0), rewrites: *rewrite || mountNamespace() == nil}
	show := d.show
	if *playground != "" {
		show = func(ctx context.Context) error { return d.playground(ctx, *playground) }
	}
	err := errors.Join(show(ctx), d.cleanUp())
	switch {
	case ctx.Err() != nil && *playground != "" && err == nil:
		fmt.Fprintln(stdout, "\nThe playground is closed; everything that was started is gone.")
		return 0
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "\nstopped; everything that was started is gone")
		return 130
	case err != nil:
		fmt.Fprintln(stderr, "\ndemo failed:", err)
		return 1
	}
	return 0
}
