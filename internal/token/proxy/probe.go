package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// A Prober asks a proxy in the same pod, for the kubelet.
type Prober struct {
	// URL of the proxy, without a slash at its end. Required.
	URL string
	// Pause between two attempts. Default: 100 ms.
	Pause time.Duration
}

// Ready returns when the proxy is ready, or with what is wrong when ctx ends. A
// refused connection is no answer: the proxy may still be starting.
func (p Prober) Ready(ctx context.Context) error {
	return p.until(ctx, "the proxy is not ready", p.URL+"/readyz")
}

// Token returns when the proxy has a token of the default identity for the
// resource. The token itself is not kept.
func (p Prober) Token(ctx context.Context, resource string) error {
	query := url.Values{"api-version": {"2018-02-01"}, "resource": {resource}}
	return p.until(ctx, "there is no token", p.URL+"/metadata/identity/oauth2/token?"+query.Encode())
}

func (p Prober) until(ctx context.Context, failure, target string) error {
	pause := p.Pause
	if pause == 0 {
		pause = 100 * time.Millisecond
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // of its own, and never through a proxy
	var last error
	for {
		err := ask(ctx, client, target)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%s: %w", failure, last)
		}
	}
}

func ask(ctx context.Context, client *http.Client, target string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Metadata", "true")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	var answer struct {
		Description string `json:"error_description"`
	}
	if json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&answer) == nil && answer.Description != "" {
		return errors.New(answer.Description)
	}
	return errors.New(resp.Status)
}
