package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sync/errgroup"

	"azwi/internal/admission/account"
	"azwi/internal/admission/authority"
	"azwi/internal/admission/webhook"
	"azwi/internal/loglevel"
	"azwi/internal/memlimit"
	"azwi/internal/pod/inject"
	"azwi/internal/terminal"
	"azwi/internal/version"
)

// run serves until SIGTERM or SIGINT and returns the exit code: 0 after a clean
// end, 1 on failure, 2 for wrong flags or environment.
func run(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	o, err := parse(args, getenv, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		terminal.New(stderr).Block("azwi-webhook: ", "azwi-webhook: ", err.Error())
		return 2
	case o.version:
		fmt.Fprintln(stdout, version.String())
		return 0
	}
	logger := loglevel.New(stderr, o.logLevel)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	memlimit.Apply(os.DirFS("/"), getenv)
	if err := serve(ctx, o, logger); err != nil {
		logger.Error("ended", "error", err)
		return 1
	}
	logger.Info("ended")
	return 0
}

func serve(ctx context.Context, o options, logger *slog.Logger) error {
	memory, _ := memlimit.Cgroup(os.DirFS("/")) // 0 if there is no limit
	api, err := connect(o.kubeconfig)
	if err != nil {
		return err
	}
	metrics := webhook.NewMetrics()
	accounts, err := account.NewReader(account.Config{Client: api.HTTP, Host: api.Host, Observe: metrics.ObserveRead})
	if err != nil {
		return err
	}
	config := o.server
	config.Logger, config.Metrics, config.Memory = logger, metrics, memory
	var own *authority.Authority
	if o.ownCertificate {
		own, err = authority.New(authority.Config{
			API: api, Namespace: o.certificate.namespace, Secret: o.certificate.secret, Configuration: o.certificate.configuration,
			Names: o.certificate.names, Logger: logger, Served: metrics.ObserveCertificate, Wrote: metrics.ObserveWrite,
		})
		if err != nil {
			return err
		}
		config.Certificate = own
	}
	server, err := webhook.NewServer(ctx, config)
	if err != nil {
		return err
	}
	// Health is served before the API server answers, so that nobody restarts a
	// webhook for its absence.
	logger.Info("listening", "version", version.String(), "addr", server.Addr().String(), "health", server.HealthAddr().String(),
		"metrics", server.MetricsAddr().String())
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return server.Run(ctx) })
	if own != nil {
		g.Go(func() error { return own.Run(ctx) })
	}
	g.Go(func() error {
		settings := o.settings
		var err error
		if settings.Proxy.NativeSidecar, err = waitForNativeSidecar(ctx, api, logger); err != nil {
			return nil // the end was asked for
		}
		server.Admit(&webhook.Handler{Accounts: accounts, Settings: settings, Metrics: metrics, Logger: logger, Memory: memory})
		logger.Info("serving", "version", version.String(), "addr", server.Addr().String(), "health", server.HealthAddr().String(),
			"metrics", server.MetricsAddr().String(), "authorityHost", settings.AuthorityHost, "audience", audience(settings),
			"tokenPath", settings.Layout.String(), "nativeSidecar", settings.Proxy.NativeSidecar, "proxyImage", settings.Proxy.Image)
		return nil
	})
	return g.Wait()
}

func audience(s inject.Settings) string {
	if s.Audience == "" {
		return "default"
	}
	return s.Audience
}
