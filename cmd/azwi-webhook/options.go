package main

import (
	"cmp"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"azwi/contract"
	"azwi/internal/admission/webhook"
	"azwi/internal/loglevel"
	"azwi/internal/pod/inject"
	"azwi/internal/pod/settings"
	"azwi/internal/version"
)

// options are the flags and environment of the process, checked.
type options struct {
	version    bool
	kubeconfig string
	logLevel   slog.Level
	settings   inject.Settings
	server     webhook.Config
	// ownCertificate: the webhook keeps its certificate itself, in a Secret.
	ownCertificate bool
	certificate    certificateOptions
}

// certificateOptions say where the webhook's own certificate is kept, and for whom.
type certificateOptions struct {
	namespace, secret, configuration string
	// names are the DNS names and IP addresses it is valid for.
	names []string
}

func parse(args []string, getenv func(string) string, stderr io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("azwi-webhook", flag.ContinueOnError)
	fs.SetOutput(stderr)
	injection := settings.Register(fs)
	fs.BoolVar(&o.version, "version", false, "print the version and exit")
	fs.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig file (default $KUBECONFIG, else the pod's own service account)")
	logLevel := fs.String("log-level", "info", "error, warn, info, debug, trace or all")
	mounted := fs.Bool("disable-cert-rotation", false, "serve the certificate in --webhook-cert-dir, instead of one that the webhook manages in --cert-secret")
	fs.StringVar(&o.server.CertDir, "webhook-cert-dir", contract.WebhookDefaultCertDir, "with --disable-cert-rotation: folder with tls.crt and tls.key, reloaded when they change")
	fs.StringVar(&o.certificate.secret, "cert-secret", contract.WebhookSecret, "Secret, in the namespace $POD_NAMESPACE, that holds the webhook's own CA and certificate")
	fs.StringVar(&o.certificate.configuration, "cert-webhook-configuration", contract.WebhookConfiguration, "MutatingWebhookConfiguration whose caBundle is kept")
	names := fs.String("cert-names", "", "comma-separated DNS names and IP addresses of the webhook's own certificate (default the Service's: "+contract.WebhookService+".$POD_NAMESPACE.svc)")
	minTLS := fs.String("tls-min-version", "1.3", "1.0, 1.1, 1.2 or 1.3")
	fs.StringVar(&o.server.Addr, "addr", contract.WebhookDefaultAddr, "address of admission")
	fs.StringVar(&o.server.HealthAddr, "health-addr", contract.WebhookDefaultHealthAddr, "address of /healthz and /readyz")
	fs.StringVar(&o.server.MetricsAddr, "metrics-addr", contract.WebhookDefaultMetrics, "address of /metrics")
	backend := fs.String("metrics-backend", "prometheus", "prometheus is the only one")
	fs.StringVar(&o.server.ClientCAFile, "client-ca-file", "", "admit only callers with a client certificate of this CA (default: any caller)")
	clientNames := fs.String("client-names", "", "comma-separated common names of which the client certificate must have one (default: any)")
	fs.DurationVar(&o.server.DrainDelay, "drain-delay", 5*time.Second, "how long to keep serving, marked not ready, after SIGTERM")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, errors.New("see --help") // the flag set has printed the mistake
	}
	if o.version {
		return o, nil
	}
	var mistakes []error
	mistake := func(err error) {
		if err != nil {
			mistakes = append(mistakes, err)
		}
	}
	if fs.NArg() > 0 {
		mistake(fmt.Errorf("unexpected argument %q: all settings are flags or environment variables", fs.Arg(0)))
	}
	var err error
	o.logLevel, err = loglevel.Parse(*logLevel)
	mistake(err)
	o.server.MinTLS, err = parseTLSVersion(*minTLS)
	mistake(err)
	if *backend != "prometheus" {
		mistake(fmt.Errorf("--metrics-backend %q: prometheus is the only one", *backend))
	}
	if *clientNames != "" {
		if o.server.ClientCAFile == "" {
			mistake(errors.New("--client-names needs --client-ca-file"))
		}
		o.server.ClientNames = strings.Split(*clientNames, ",")
	}
	switch {
	case o.server.DrainDelay < 0:
		mistake(errors.New("--drain-delay may not be negative"))
	case o.server.DrainDelay == 0:
		o.server.DrainDelay = -1 // none, where zero would be the default
	}
	o.ownCertificate = !*mounted
	o.certificate.namespace = cmp.Or(getenv(contract.EnvPodNamespace), contract.SystemNamespace)
	o.certificate.names = strings.Split(cmp.Or(*names, contract.WebhookService+"."+o.certificate.namespace+".svc"), ",")
	o.settings, err = injection.Settings(getenv, version.Image(contract.ProxyImageName))
	mistake(err)
	o.settings.Proxy.LogLevel = *logLevel
	return o, errors.Join(mistakes...)
}

func parseTLSVersion(s string) (uint16, error) {
	switch s {
	case "1.0":
		return tls.VersionTLS10, nil
	case "1.1":
		return tls.VersionTLS11, nil
	case "1.2":
		return tls.VersionTLS12, nil
	case "1.3":
		return tls.VersionTLS13, nil
	}
	return 0, fmt.Errorf("--tls-min-version %q: use 1.0, 1.1, 1.2 or 1.3", s)
}
