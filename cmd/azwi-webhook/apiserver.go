package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"azwi/contract"
	"azwi/internal/version"
)

// apiServer is the cluster's API server, with this process's credentials.
type apiServer struct {
	host   string
	client *http.Client
}

// newAPIServer reads the kubeconfig, or $KUBECONFIG, or the pod's own service
// account. Nothing is asked yet.
func newAPIServer(kubeconfig string) (*apiServer, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("connect to the API server: %w", err)
	}
	config.UserAgent = "azwi-webhook/" + version.String()
	// HTTP/1.1 is some 7% faster for one small read than a stream of HTTP/2, and
	// its connections spread over the API servers behind a load balancer, where
	// HTTP/2 would hang on one of them (docs/decisions).
	config.NextProtos = []string{"http/1.1"}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the API server: %w", err)
	}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the API server: %w", err)
	}
	return &apiServer{host: strings.TrimSuffix(base.String(), "/"), client: client}, nil
}

// waitForNativeSidecar asks the API server's version until it answers, and
// reports whether sidecars may be native. It fails only when ctx ends.
func (a *apiServer) waitForNativeSidecar(ctx context.Context, logger *slog.Logger) (bool, error) {
	for {
		native, err := a.nativeSidecar(ctx)
		if err == nil {
			return native, nil
		}
		logger.Warn("the API server does not tell its version: trying again", "host", a.host, "error", err)
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("ask the API server's version: %w", err)
		case <-time.After(time.Second):
		}
	}
}

func (a *apiServer) nativeSidecar(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.host+"/version", http.NoBody)
	if err != nil {
		return false, err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return false, errors.New(resp.Status)
	}
	var v struct {
		GitVersion string `json:"gitVersion"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&v); err != nil {
		return false, err
	}
	return atLeast(v.GitVersion, contract.NativeSidecarMinor)
}

// atLeast compares a version such as v1.32.4-gke.1 with 1.minor.
func atLeast(version string, minor int) (bool, error) {
	m := regexp.MustCompile(`^v(\d+)\.(\d+)\.`).FindStringSubmatch(version)
	if m == nil {
		return false, fmt.Errorf("no version of Kubernetes: %.40q", version)
	}
	major, err := strconv.Atoi(m[1])
	if err != nil {
		return false, err
	}
	have, err := strconv.Atoi(m[2])
	return major > 1 || major == 1 && have >= minor, err
}
