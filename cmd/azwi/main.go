// Command azwi federates Kubernetes service accounts with Azure identities.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"azwi/internal/cli"
)

func main() { os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return cli.Run(ctx, args[1:], cli.Streams{In: stdin, Out: stdout, Err: stderr, Program: filepath.Base(args[0])}, os.Getenv)
}
