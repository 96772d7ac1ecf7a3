package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"strings"
	"syscall"

	"azwi/internal/account"
	"azwi/internal/inject"
	"azwi/internal/version"
	"azwi/internal/webhook"
)

// run serves until SIGTERM or SIGINT and returns the exit code: 0 after a clean
// end, 1 on failure, 2 for wrong flags or environment.
func run(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	o, err := parse(args, getenv, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		for line := range strings.SplitSeq(err.Error(), "\n") {
			fmt.Fprintln(stderr, "azwi-webhook:", line)
		}
		return 2
	case o.version:
		fmt.Fprintln(stdout, version.String())
		return 0
	}
	logger := slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: o.logLevel}))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := serve(ctx, o, logger); err != nil {
		logger.Error("ended", "error", err)
		return 1
	}
	logger.Info("ended")
	return 0
}

func serve(ctx context.Context, o options, logger *slog.Logger) error {
	api, err := connect(o.kubeconfig)
	if err != nil {
		return err
	}
	metrics := webhook.NewMetrics()
	accounts, err := account.NewReader(account.Config{Client: api.HTTP, Host: api.Host, Observe: metrics.ObserveRead})
	if err != nil {
		return err
	}
	settings := o.settings
	if settings.Proxy.NativeSidecar, err = waitForNativeSidecar(ctx, api, logger); err != nil {
		return err
	}
	config := o.server
	config.Logger, config.Metrics = logger, metrics
	config.Admission = &webhook.Handler{Accounts: accounts, Settings: settings, Metrics: metrics, Logger: logger}
	server, err := webhook.NewServer(ctx, config)
	if err != nil {
		return err
	}
	logger.Info("serving", "version", version.String(), "addr", server.Addr().String(), "health", server.HealthAddr().String(),
		"metrics", server.MetricsAddr().String(), "authorityHost", settings.AuthorityHost, "audience", audience(settings),
		"tokenPath", settings.Layout.String(), "nativeSidecar", settings.Proxy.NativeSidecar, "proxyImage", settings.Proxy.Image)
	return server.Run(ctx)
}

func audience(s inject.Settings) string {
	if s.Audience == "" {
		return "default"
	}
	return s.Audience
}
