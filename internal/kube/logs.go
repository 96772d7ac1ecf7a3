package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"azwi/internal/finding"
)

// A LogRequest says which log of a pod is wanted.
type LogRequest struct {
	Namespace, Pod, Container string
	// Previous: the log of the container before its last restart.
	Previous bool
	// Lines and Bytes are the most to read. Lines are the last ones. Required.
	Lines, Bytes int
}

// Logs reads the log of a container.
// Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#get-read-log-of-the-specified-pod
func (c *Client) Logs(ctx context.Context, r LogRequest) ([]byte, error) {
	ref := Ref{APIVersion: "v1", Kind: "Pod", Namespace: r.Namespace, Name: r.Pod}
	path, err := ref.Path()
	if err != nil {
		return nil, err
	}
	query := url.Values{"container": {r.Container}, "tailLines": {strconv.Itoa(r.Lines)}, "limitBytes": {strconv.Itoa(r.Bytes)}}
	if r.Previous {
		query.Set("previous", "true")
	}
	var text json.RawMessage
	_, err = c.Do(ctx, Request{Method: http.MethodGet, Ref: ref, Path: path + "/log", Accept: "text/plain, */*", query: query}, &text)
	switch {
	case IsForbidden(err): // the right is another one than for the pod
		return nil, finding.ClusterForbidden("get", "pods/log", r.Namespace).Err(err)
	case err != nil:
		return nil, fmt.Errorf("log of container %s: %w", r.Container, err)
	}
	return text[:min(len(text), r.Bytes)], nil
}
