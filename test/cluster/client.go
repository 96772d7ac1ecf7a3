package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// maxAnswer bounds an answer of the API server: a list of 100,000 service accounts fits.
const maxAnswer = 256 << 20

// Client speaks JSON with the API server as one user.
type Client struct {
	// URL is the API server's.
	URL string
	// HTTP presents the user's certificate and trusts the cluster's authority only.
	HTTP *http.Client
	// Token, if set, is sent as bearer token.
	Token string
}

// StatusError is the API server's refusal.
type StatusError struct {
	Code    int    `json:"code"` // the HTTP status
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("API server: %d %s: %s", e.Code, e.Reason, e.Message)
}

// Do sends in, which may be nil, bytes of JSON or anything that marshals to it,
// and decodes the answer into out unless that is nil; *json.RawMessage takes it
// as it is. A PATCH is a JSON merge patch, or a JSON patch if in is a list. It
// returns the warnings that came with the answer; a refusal is a *StatusError.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) (warnings []string, err error) {
	body, err := encode(in)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, c.URL+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json, */*;q=0.1") // the issuer's keys are application/jwk-set+json
	request.Header.Set("Content-Type", contentType(method, body))
	if c.Token != "" {
		request.Header.Set("Authorization", "Bearer "+c.Token)
	}
	response, err := c.HTTP.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	warnings = warningTexts(response.Header.Values("Warning"))
	if response.StatusCode >= 300 {
		refusal := &StatusError{Message: string(answer)}
		if json.Unmarshal(answer, refusal) != nil || refusal.Message == "" {
			refusal.Message = string(answer)
		}
		refusal.Code = response.StatusCode
		return warnings, fmt.Errorf("%s %s: %w", method, path, refusal)
	}
	if out == nil {
		return warnings, nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return warnings, fmt.Errorf("%s %s: %w", method, path, err)
	}
	return warnings, nil
}

// hasCode says whether err is the API server's refusal with that HTTP status.
func hasCode(err error, code int) bool {
	status, ok := errors.AsType[*StatusError](err)
	return ok && status.Code == code
}

func encode(in any) ([]byte, error) {
	switch in := in.(type) {
	case nil:
		return nil, nil
	case []byte:
		return in, nil
	default:
		return json.Marshal(in)
	}
}

func contentType(method string, body []byte) string {
	switch {
	case method != http.MethodPatch:
		return "application/json"
	case bytes.HasPrefix(bytes.TrimSpace(body), []byte("[")):
		return "application/json-patch+json"
	default:
		return "application/merge-patch+json"
	}
}

// warningTexts takes the texts out of Warning headers: 299 - "text" (RFC 7234 §5.5).
func warningTexts(headers []string) []string {
	var texts []string
	for _, header := range headers {
		var code int
		var agent, text string
		if _, err := fmt.Sscanf(header, "%d %s %q", &code, &agent, &text); err != nil {
			text = header
		}
		texts = append(texts, text)
	}
	return texts
}

func newClient(url string, ca *CA, certificates ...tls.Certificate) *Client {
	transport := &http.Transport{
		TLSClientConfig:       &tls.Config{RootCAs: ca.Pool(), Certificates: certificates, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   100,
		IdleConnTimeout:       time.Minute,
		ResponseHeaderTimeout: time.Minute,
	}
	return &Client{URL: url, HTTP: &http.Client{Transport: transport}}
}
