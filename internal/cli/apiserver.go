package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"azwi/internal/version"
)

// apiServer is a cluster's API server, with the user's credentials.
type apiServer struct {
	host   string
	client *http.Client
}

// maxAnswer bounds an answer of the API server, which keeps no larger objects.
const maxAnswer = 8 << 20

// newAPIServer reads the kubeconfig as kubectl does. Nothing is asked yet.
func newAPIServer(kubeconfig, kubeContext string) (*apiServer, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: kubeContext}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("connect to the API server: %w", err)
	}
	config.UserAgent = "azwi/" + version.String()
	config.Timeout = 30 * time.Second
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

// get reads an object into out. It reports false where there is none.
func (a *apiServer) get(ctx context.Context, path string, out any) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.host+path, http.NoBody)
	if err != nil {
		return false, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := a.client.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return false, fmt.Errorf("read %s: %w", path, err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return true, json.Unmarshal(body, out)
	case http.StatusNotFound:
		return false, nil
	}
	var status struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &status) != nil || status.Message == "" {
		status.Message = resp.Status
	}
	return false, fmt.Errorf("read %s: %s", path, status.Message)
}
