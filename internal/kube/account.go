package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
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

// A TokenRequest says which token of a service account is wanted.
type TokenRequest struct {
	// Audience is the only one. Required.
	Audience string
	// Lifetime is what is asked for; the API server may grant another one. The least is
	// 600 s, which is the default.
	Lifetime time.Duration
	// PodName and PodUID bind the token to a pod, as the kubelet does. Optional.
	PodName, PodUID string
}

// Token requests a token of a service account. The error never holds the token.
// Source: https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/
func (c *Client) Token(ctx context.Context, namespace, name string, r TokenRequest) (token string, expires time.Time, err error) {
	const least = 600 * time.Second
	spec := map[string]any{"audiences": []string{r.Audience}, "expirationSeconds": int64(max(r.Lifetime, least) / time.Second)}
	if r.PodName != "" {
		spec["boundObjectRef"] = map[string]any{"apiVersion": "v1", "kind": "Pod", "name": r.PodName, "uid": r.PodUID}
	}
	request := map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
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

// May reports whether the user has a verb on a resource, such as pods or
// deployments.apps; the namespace is empty for the whole cluster.
// Source: https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/self-subject-access-review-v1/
func (c *Client) May(ctx context.Context, verb, resource, namespace string) (bool, error) {
	const apiVersion, kind = "authorization.k8s.io/v1", "SelfSubjectAccessReview"
	var review struct{ Status struct{ Allowed bool } }
	resource, group, _ := strings.Cut(resource, ".")
	_, err := c.Do(ctx, Request{
		Method: http.MethodPost, Ref: Ref{APIVersion: apiVersion, Kind: kind},
		Body: map[string]any{
			"apiVersion": apiVersion, "kind": kind,
			"spec": map[string]any{"resourceAttributes": map[string]any{"verb": verb, "resource": resource, "group": group, "namespace": namespace}},
		},
	}, &review)
	return review.Status.Allowed, err
}
