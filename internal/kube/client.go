package kube

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"azwi/internal/spelling"
	"azwi/internal/version"
)

// Config says which API server, and as whom.
type Config struct {
	// Kubeconfig is a file. Default: $KUBECONFIG, else ~/.kube/config, else the
	// pod's own service account.
	Kubeconfig string
	// Context of the kubeconfig. Default: its current one.
	Context string
	// Program names this program in the User-Agent. Default: azwi.
	Program string
	// Timeout of one request. Default: 30 s; below 0 there is none.
	Timeout time.Duration
	// Protocols are those to offer in TLS. Default: HTTP/2 and HTTP/1.1.
	Protocols []string
}

// A Client speaks to one API server. It is safe for concurrent use.
type Client struct {
	// Host is the API server's base URL, without a slash at its end.
	Host string
	// HTTP sends requests with the user's credentials.
	HTTP *http.Client
	// Namespace is that of the kubeconfig's context, or default.
	Namespace string
}

// Connect reads the configuration. It sends nothing yet.
func Connect(c Config) (*Client, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.Kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: c.Context})
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("connect to the API server: %w%s", err, suggestContext(rules, c.Context))
	}
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, fmt.Errorf("connect to the API server: %w", err)
	}
	if c.Program == "" {
		c.Program = "azwi"
	}
	config.UserAgent = c.Program + "/" + version.String()
	switch {
	case c.Timeout == 0:
		config.Timeout = 30 * time.Second
	case c.Timeout > 0:
		config.Timeout = c.Timeout
	}
	if c.Protocols != nil {
		config.NextProtos = c.Protocols
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the API server: %w", err)
	}
	client.CheckRedirect = sameOrigin
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the API server: %w", err)
	}
	return &Client{Host: strings.TrimSuffix(base.String(), "/"), HTTP: client, Namespace: namespace}, nil
}

// suggestContext is the context that may be meant, if the kubeconfig has none of that
// name.
func suggestContext(rules *clientcmd.ClientConfigLoadingRules, name string) string {
	config, err := rules.Load()
	if err != nil || name == "" || config.Contexts[name] != nil {
		return ""
	}
	return spelling.Suggest(name, slices.Sorted(maps.Keys(config.Contexts)))
}

// ErrRedirect is a redirect to another origin.
var ErrRedirect = errors.New("a redirect to another origin is not followed, because it would receive the credentials")

// sameOrigin keeps redirects where the credentials belong: client-go adds them to
// each request, whatever its host.
func sameOrigin(next *http.Request, before []*http.Request) error {
	const most = 5
	if next.URL.Scheme != before[0].URL.Scheme || next.URL.Host != before[0].URL.Host || len(before) > most {
		return ErrRedirect
	}
	return nil
}

// A StatusError is an answer of the API server other than success.
type StatusError struct {
	// Code is the HTTP status.
	Code int
	// Reason is Kubernetes' machine-readable reason, such as AlreadyExists; may be
	// empty.
	Reason string
	// Message is the API server's own text.
	Message string
}

func (e *StatusError) Error() string { return e.Message }

// IsStatus reports whether the API server answered err with that HTTP status.
func IsStatus(err error, code int) bool {
	status, ok := errors.AsType[*StatusError](err)
	return ok && status.Code == code
}

// IsNotFound reports whether the object does not exist.
func IsNotFound(err error) bool { return IsStatus(err, http.StatusNotFound) }

// IsForbidden reports whether the user may not do it.
func IsForbidden(err error) bool { return IsStatus(err, http.StatusForbidden) }

// maxAnswer bounds an answer in bytes: the API server keeps no object larger than
// 3 MiB, but lists are.
const maxAnswer = 256 << 20

// A Request is one call.
type Request struct {
	Method string
	// Path begins with a slash.
	Path string
	// Query may be nil.
	Query url.Values
	// ContentType of Body. Default: application/json.
	ContentType string
	// Body is bytes (json.RawMessage, []byte) or what is marshalled to JSON; nil
	// is none.
	Body any
	// Accept. Default: application/json.
	Accept string
}

// Do sends a request and decodes the answer into out, unless that is nil;
// *json.RawMessage takes it as it is. It returns the warnings that came with the
// answer. An answer other than success is a *StatusError, wrapped.
func (c *Client) Do(ctx context.Context, r Request, out any) (warnings []string, err error) {
	resp, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	what := r.Method + " " + r.Path
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: the answer was cut off: %w", what, err)
	case len(raw) > maxAnswer:
		return nil, fmt.Errorf("%s: the answer is larger than %d bytes", what, maxAnswer)
	}
	warnings = parseWarnings(resp.Header.Values("Warning"))
	if resp.StatusCode >= http.StatusMultipleChoices {
		return warnings, fmt.Errorf("%s: %w", what, statusError(resp.StatusCode, raw))
	}
	switch out := out.(type) {
	case nil:
	case *json.RawMessage:
		*out = raw
	default:
		if err := json.Unmarshal(raw, out); err != nil {
			return warnings, fmt.Errorf("%s: decode the answer: %w", what, err)
		}
	}
	return warnings, nil
}

// send sends a request. The caller closes the answer's body.
func (c *Client) send(ctx context.Context, r Request) (*http.Response, error) {
	var body io.Reader = http.NoBody
	switch in := r.Body.(type) {
	case nil:
	case []byte:
		body = bytes.NewReader(in)
	case json.RawMessage:
		body = bytes.NewReader(in)
	default:
		raw, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", r.Method, r.Path, err)
		}
		body = bytes.NewReader(raw)
	}
	for segment := range strings.SplitSeq(r.Path, "/") {
		if segment == "." || segment == ".." {
			return nil, fmt.Errorf("%s %s: no object is named %q", r.Method, r.Path, segment)
		}
	}
	target := c.Host + r.Path
	if len(r.Query) > 0 {
		target += "?" + r.Query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, target, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", cmp.Or(r.Accept, "application/json"))
	if r.Body != nil {
		req.Header.Set("Content-Type", cmp.Or(r.ContentType, "application/json"))
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the API server: %w", err)
	}
	return resp, nil
}

func statusError(code int, body []byte) *StatusError {
	status := struct{ Message, Reason string }{}
	if json.Unmarshal(body, &status) != nil || status.Message == "" {
		status.Message = fmt.Sprintf("%d %s", code, http.StatusText(code))
	}
	return &StatusError{Code: code, Reason: status.Reason, Message: status.Message}
}

// parseWarnings takes the texts out of headers such as `299 - "text"` (RFC 7234
// section 5.5, which Kubernetes uses with code 299 only).
func parseWarnings(headers []string) []string {
	var texts []string
	for _, h := range headers {
		quoted, found := strings.CutPrefix(h, "299 - ")
		if !found || len(quoted) < 2 {
			continue
		}
		text := strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(quoted[1 : len(quoted)-1])
		texts = append(texts, text)
	}
	return texts
}

// Get reads an object or a list.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	_, err := c.Do(ctx, Request{Method: http.MethodGet, Path: path}, out)
	return err
}

// Namespaces are the names of the cluster's first 500 namespaces, to suggest one;
// none where the user may not list them.
func (c *Client) Namespaces(ctx context.Context) []string {
	var list struct {
		Items []struct{ Metadata struct{ Name string } }
	}
	if _, err := c.Do(ctx, Request{Method: http.MethodGet, Path: "/api/v1/namespaces", Query: url.Values{"limit": {"500"}}}, &list); err != nil {
		return nil
	}
	names := make([]string, len(list.Items))
	for i, item := range list.Items {
		names[i] = item.Metadata.Name
	}
	return names
}

// NoNamespace is the error that the cluster has no namespace of a name, with the one
// that may be meant.
func (c *Client) NoNamespace(ctx context.Context, name string) error {
	return fmt.Errorf("the cluster has no namespace %q%s", name, spelling.Suggest(name, c.Namespaces(ctx)))
}

// Apply says how to apply an object.
type Apply struct {
	// Manager owns the fields that the object has. Required.
	Manager string
	// Force takes fields over from other managers.
	Force bool
	// DryRun changes nothing.
	DryRun bool
}

// Apply creates or changes an object by server-side apply; out takes the result
// and may be nil. Another manager's field without Force is a conflict (409).
// Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/
func (c *Client) Apply(ctx context.Context, path string, how Apply, object, out any) (warnings []string, err error) {
	query := url.Values{"fieldManager": {how.Manager}}
	if how.Force {
		query.Set("force", "true")
	}
	if how.DryRun {
		query.Set("dryRun", "All")
	}
	return c.Do(ctx, Request{
		Method: http.MethodPatch, Path: path, Query: query,
		ContentType: "application/apply-patch+yaml", Body: object,
	}, out)
}
