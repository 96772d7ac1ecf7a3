package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"azwi/internal/loglevel"
	"azwi/internal/memlimit"
	"azwi/internal/terminal"
	"azwi/internal/token"
	"azwi/internal/token/entra"
	"azwi/internal/token/imds"
	"azwi/internal/token/proxy"
	"azwi/internal/token/redirect"
	"azwi/internal/version"
)

// run does what the arguments say and returns the exit code: 0 after a clean end,
// 1 on failure, 2 for wrong flags or environment.
func run(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if len(args) > 0 && args[0] == "init" {
		o, err := parseInit(args[1:], getenv, stderr)
		if err != nil {
			return mistaken(err, stderr)
		}
		return ended(setRedirect(ctx, o, newLogger(stderr, o.logLevel)), stderr, o.logLevel)
	}
	o, err := parse(args, getenv, stderr)
	switch {
	case err != nil:
		return mistaken(err, stderr)
	case o.version:
		fmt.Fprintln(stdout, version.String())
		return 0
	case o.probe:
		return ended(probe(ctx, o), stderr, o.logLevel)
	}
	return ended(serve(ctx, o, newLogger(stderr, o.logLevel)), stderr, o.logLevel)
}

func newLogger(w io.Writer, level slog.Level) *slog.Logger {
	return loglevel.New(w, level)
}

func mistaken(err error, stderr io.Writer) int {
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	terminal.New(stderr).Block("azwi-proxy: ", "azwi-proxy: ", err.Error())
	return 2
}

func ended(err error, stderr io.Writer, level slog.Level) int {
	if err != nil {
		newLogger(stderr, level).Error("ended", "error", err)
		return 1
	}
	return 0
}

func setRedirect(ctx context.Context, o initOptions, logger *slog.Logger) error {
	if o.remove {
		if err := redirect.Remove(ctx); err != nil {
			return err
		}
		logger.Info("redirect removed", "table", redirect.Table)
		return nil
	}
	if err := redirect.Apply(ctx, o.redirect); err != nil {
		return err
	}
	logger.Info("redirect set", "table", redirect.Table, "port", o.redirect.Port, "exceptUser", o.redirect.UID)
	return nil
}

func probe(ctx context.Context, o options) error {
	p := proxy.Prober{URL: "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(o.port))}
	ready, cancel := context.WithTimeout(ctx, o.probeTimeout)
	defer cancel()
	if err := p.Ready(ready); err != nil || o.waitForToken <= 0 {
		return err
	}
	served, cancel := context.WithTimeout(ctx, o.waitForToken)
	defer cancel()
	return p.Token(served, o.waitResource)
}

func serve(ctx context.Context, o options, logger *slog.Logger) error {
	o.exchange.UserAgent = "azwi-proxy/" + version.String()
	o.exchange.Proxy = http.ProxyFromEnvironment
	if limit := memlimit.Apply(os.DirFS("/"), os.Getenv); limit > 0 {
		logger.Debug("memory limit set", "bytes", limit)
	}
	exchanger, err := entra.NewExchanger(o.exchange)
	if err != nil {
		return err
	}
	metrics := new(proxy.Metrics)
	// Exchanges go on after the signal: callers may be waiting for them.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	source, err := token.New(life, token.Config{
		Exchange:         exchange(exchanger, o.tokenFile, metrics),
		ReplicationGrace: o.grace,
		MaxWaiters:       maxWaiters,
		CacheFile:        o.cacheFile,
		Elapsed:          bootClock(),
		Logger:           logger,
	})
	if err != nil {
		return err
	}
	metrics.Soonest = source.Soonest
	handler := &proxy.Handler{
		Tokens: source, Authority: o.exchange.AuthorityHost, Identities: o.identities,
		Parser:  imds.Parser{Secret: o.secret, Lax: o.lax},
		Ready:   func() error { _, err := entra.ReadAssertion(o.tokenFile); return err },
		Metrics: metrics, Logger: logger,
	}
	if !o.blockIMDS {
		handler.Forward = proxy.NewForwarder(proxy.ForwarderConfig{URL: o.imdsURL, Logger: logger})
	}
	server, err := proxy.NewServer(ctx, proxy.ServerConfig{
		Handler: handler, Port: o.port, DrainDelay: o.drainDelay, MetricsAddr: o.metricsAddr, Metrics: metrics, Logger: logger,
	})
	if err != nil {
		return err
	}
	attrs := []any{
		"version", version.String(), "addr", server.Addr().String(), "tenant", o.identities.Default.TenantID, "client", o.identities.Default.ClientID,
		"authorityHost", o.exchange.AuthorityHost, "tokenProxy", o.exchange.TokenProxy.URL != "", "tokenFile", o.tokenFile,
		"appServiceForms", o.secret != "", "blockMetadata", o.blockIMDS, "lax", o.lax,
	}
	if addr := server.MetricsAddr(); addr != nil {
		attrs = append(attrs, "metrics", addr.String())
	}
	logger.Info("serving", attrs...)
	err = server.Run(ctx)
	if err == nil {
		logger.Info("ended")
	}
	return err
}

// maxWaiters leaves connections for those whose token is in the cache while others
// wait for Entra.
const maxWaiters = 256

// trimAfter lets exchanges that come together pass before memory is given back.
const trimAfter = 5 * time.Second

// exchange reads the token file anew each time: the kubelet replaces it.
func exchange(x *entra.Exchanger, tokenFile string, metrics *proxy.Metrics) func(context.Context, token.Key) (entra.Token, error) {
	// Handshakes and parsing the system's CAs need some MiB for a moment: two
	// thirds of what the process would hold for hours until the next exchange.
	trim := time.AfterFunc(trimAfter, debug.FreeOSMemory)
	return func(ctx context.Context, k token.Key) (entra.Token, error) {
		start := time.Now()
		t, err := exchangeOnce(ctx, x, tokenFile, k)
		metrics.Exchanged(time.Since(start), err)
		trim.Reset(trimAfter)
		return t, err
	}
}

func exchangeOnce(ctx context.Context, x *entra.Exchanger, tokenFile string, k token.Key) (entra.Token, error) {
	assertion, err := entra.ReadAssertion(tokenFile)
	if err != nil {
		return entra.Token{}, err
	}
	return x.Exchange(ctx, entra.ExchangeRequest{
		TenantID: k.TenantID, ClientID: k.ClientID, Resource: k.Resource, Claims: k.Claims, Assertion: assertion,
	})
}
