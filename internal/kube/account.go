package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// ErrOther is an answer of success that is not the object asked for, such as {} of
// something between here and the API server.
var ErrOther = errors.New("the answer is not the object asked for")

// Account reads a service account into out.
func (c *Client) Account(ctx context.Context, namespace, name string, out any) error {
	var raw json.RawMessage
	if err := c.Read(ctx, AccountRef(namespace, name), &raw); err != nil {
		return err
	}
	var is struct {
		Metadata struct{ Namespace, Name string }
	}
	err := json.Unmarshal(raw, &is)
	if err == nil && (is.Metadata.Namespace != namespace || is.Metadata.Name != name) {
		err = ErrOther
	}
	if err == nil {
		err = json.Unmarshal(raw, out)
	}
	if err != nil {
		return fmt.Errorf("%s: decode the answer: %w", AccountRef(namespace, name), err)
	}
	return nil
}

// Issuer returns the issuer of the cluster's service account tokens, byte for
// byte as its discovery document has it.
// Source: https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery
func (c *Client) Issuer(ctx context.Context) (string, error) {
	var document struct{ Issuer string }
	if err := c.Get(ctx, "/.well-known/openid-configuration", &document); err != nil {
		return "", fmt.Errorf("read the cluster's issuer: %w", err)
	}
	if document.Issuer == "" {
		return "", errors.New("read the cluster's issuer: the discovery document has none")
	}
	return document.Issuer, nil
}

// Token asks for a token of a service account with one audience. The API server
// may grant another lifetime than was asked for; the least is 600 s. The error
// never holds the token.
// Source: https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/
func (c *Client) Token(ctx context.Context, namespace, name, audience string, lifetime time.Duration) (token string, expires time.Time, err error) {
	request := map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
		"spec": map[string]any{"audiences": []string{audience}, "expirationSeconds": int64(lifetime / time.Second)},
	}
	var answer struct {
		Status struct {
			Token               string
			ExpirationTimestamp time.Time
		}
	}
	path, err := AccountRef(namespace, name).Path()
	if err == nil {
		_, err = c.Do(ctx, Request{Method: http.MethodPost, Path: path + "/token", Body: request}, &answer)
	}
	if err != nil {
		return "", time.Time{}, fmt.Errorf("request a token of service account %s/%s: %w", namespace, name, err)
	}
	return answer.Status.Token, answer.Status.ExpirationTimestamp, nil
}
