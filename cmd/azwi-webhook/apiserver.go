package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"azwi/contract"
	"azwi/internal/kube"
)

// connect finds the API server. Nothing is asked yet.
func connect(kubeconfig string) (*kube.Client, error) {
	return kube.Connect(kube.Config{
		Kubeconfig: kubeconfig, Program: "azwi-webhook",
		Timeout: -1, // each call has its own
		// HTTP/1.1 is some 7% faster for one small read than a stream of HTTP/2, and
		// its connections spread over the API servers behind a load balancer, where
		// HTTP/2 would hang on one of them (docs/decisions).
		Protocols: []string{"http/1.1"},
	})
}

// waitForNativeSidecar asks the API server's version until it answers, and
// reports whether sidecars may be native. It fails only when ctx ends.
func waitForNativeSidecar(ctx context.Context, api *kube.Client, logger *slog.Logger) (bool, error) {
	for {
		native, err := nativeSidecar(ctx, api)
		if err == nil {
			return native, nil
		}
		logger.Warn("the API server does not return its version: trying again", "host", api.Host, "error", err)
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("find out the API server's version: %w", err)
		case <-time.After(time.Second):
		}
	}
}

func nativeSidecar(ctx context.Context, api *kube.Client) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return api.AtLeast(ctx, contract.NativeSidecarMinor)
}
