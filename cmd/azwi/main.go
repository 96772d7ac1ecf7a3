// Command azwi federates Kubernetes service accounts with Azure identities.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"azwi/internal/cli"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return cli.Run(ctx, args, cli.Streams{In: stdin, Out: stdout, Err: stderr}, os.Getenv)
}
