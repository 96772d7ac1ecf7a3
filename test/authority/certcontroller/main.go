// Command certcontroller keeps a webhook's certificate by the library that upstream
// v1.6.0 uses, in its version and with upstream's settings, for tests of who takes
// over from it or runs beside it. It is a module of its own, as the library goes
// with older Kubernetes modules than ours.
package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/open-policy-agent/cert-controller/pkg/rotator"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

func main() {
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	if err := run(logger); err != nil {
		logger.Error("ended", "error", err)
		os.Exit(1)
	}
}

func run(logger *slog.Logger) error {
	namespace := flag.String("namespace", "", "of the Secret")
	secret := flag.String("secret", "azure-wi-webhook-server-cert", "name of the Secret")
	configuration := flag.String("configuration", "", "name of the MutatingWebhookConfiguration")
	name := flag.String("dns-name", "", "of the certificate")
	dir := flag.String("cert-dir", "", "folder that has a file tls.crt, as the mounted Secret would")
	flag.Parse() // controller-runtime has a flag --kubeconfig

	ctrl.SetLogger(logr.FromSlogHandler(logger.Handler()))
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	manager, err := ctrl.NewManager(config, ctrl.Options{Scheme: scheme.Scheme, Metrics: metricsserver.Options{BindAddress: "0"}})
	if err != nil {
		return err
	}
	ready := make(chan struct{})
	if err := rotator.AddRotator(manager, &rotator.CertRotator{
		SecretKey:      types.NamespacedName{Namespace: *namespace, Name: *secret},
		CertDir:        *dir,
		CAName:         "azure-workload-identity-ca",
		CAOrganization: "azure-workload-identity",
		DNSName:        *name,
		IsReady:        ready,
		Webhooks:       []rotator.WebhookInfo{{Name: *configuration, Type: rotator.Mutating}},
	}); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	go func() {
		select {
		case <-ready:
			logger.Info("serving", "addr", *name) // as the harness waits for it
		case <-ctx.Done():
		}
	}()
	return manager.Start(ctx)
}
