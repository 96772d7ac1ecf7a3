package kube

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"azwi/internal/finding"
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
	// Waiting is told of each request when it begins, and when there is an answer.
	// Default: nobody.
	Waiting func(host string) (done func())
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
		return nil, fmt.Errorf("connect to the API server: %w", explainConfig(err, c, rules))
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
	if c.Waiting != nil {
		config.Wrap(func(next http.RoundTripper) http.RoundTripper { return waits{next, c.Waiting} })
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

// waits tells of requests.
type waits struct {
	next  http.RoundTripper
	begin func(host string) (done func())
}

func (w waits) RoundTrip(r *http.Request) (*http.Response, error) {
	defer w.begin(r.URL.Host)()
	return w.next.RoundTrip(r)
}

// explainConfig says what is wrong with the kubeconfig.
func explainConfig(err error, c Config, rules *clientcmd.ClientConfigLoadingRules) error {
	config, unreadable := rules.Load()
	switch {
	case errors.As(err, new(*fs.PathError)):
		return err
	case unreadable != nil:
		return finding.NotKubeconfig(unreadable).Err(err)
	case !clientcmd.IsEmptyConfig(err) && c.Context != "" && config.Contexts[c.Context] == nil:
		return finding.ContextMissing(c.Context, spelling.Suggest(c.Context, slices.Sorted(maps.Keys(config.Contexts)))).Err(err)
	case !clientcmd.IsEmptyConfig(err):
		return finding.NotKubeconfig(err).Err(err)
	case c.Kubeconfig == "" && !slices.Contains(rules.Precedence, clientcmd.RecommendedHomeFile) && !slices.ContainsFunc(rules.Precedence, exists):
		return finding.KubeconfigMissing(strings.Join(rules.Precedence, string(filepath.ListSeparator))).Err(err) // of $KUBECONFIG
	}
	return finding.NoCluster().Err(err)
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return !errors.Is(err, fs.ErrNotExist)
}

// ErrRedirect is a redirect to another origin.
var ErrRedirect = finding.RedirectNotFollowed().Err(nil)

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
	// Verb and Ref are what was asked for; empty for what has no Ref.
	Verb string
	Ref  Ref
}

func (e *StatusError) Error() string { return e.Message }

// errNoAnswer is an API server that can't be reached.
var errNoAnswer = errors.New("contact the API server")

// Explain says what an error of this package's means, if that is known and the error does
// not say it itself.
func Explain(err error) (finding.Finding, bool) {
	if _, explained := errors.AsType[*finding.Failure](err); explained {
		return finding.Finding{}, false
	}
	status, answered := errors.AsType[*StatusError](err)
	switch {
	case answered && status.Code == http.StatusUnauthorized:
		return finding.ClusterSignIn(), true
	case answered && status.Code == http.StatusForbidden && status.Verb != "":
		return finding.ClusterForbidden(status.Verb, status.Ref.Plural(), status.Ref.Namespace), true
	case !answered && errors.As(err, new(*tls.CertificateVerificationError)):
		return finding.ClusterUntrusted(), true
	case !answered && errors.Is(err, errNoAnswer):
		return finding.ClusterUnreachable(false), true
	}
	return finding.Finding{}, false
}

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
	// Ref is what it is about; to create an object, all of its kind.
	Ref Ref
	// Path begins with a slash. Default: that of Ref.
	Path string
	// Selector of labels. Default: every object.
	Selector string
	// Manager owns the fields that are written.
	Manager string
	// Force takes fields over from other managers.
	Force bool
	// DryRun changes nothing.
	DryRun bool
	// ContentType of Body. Default: application/json.
	ContentType string
	// Body is bytes (json.RawMessage, []byte) or what is marshalled to JSON; nil
	// is none.
	Body any
	// Accept. Default: application/json.
	Accept string

	query url.Values // what only this package asks for
}

// Apply is the request to create or change an object by server-side apply, which takes
// over the fields that it has.
// Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/
func Apply(ref Ref, manager string, object any) Request {
	return Request{
		Method: http.MethodPatch, Ref: ref, Manager: manager, Force: true,
		ContentType: "application/apply-patch+yaml", Body: object,
	}
}

func (r Request) parameters() url.Values {
	query := url.Values{}
	maps.Copy(query, r.query)
	for name, value := range map[string]string{"labelSelector": r.Selector, "fieldManager": r.Manager} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if r.Force {
		query.Set("force", "true")
	}
	if r.DryRun {
		query.Set("dryRun", "All")
	}
	return query
}

// verb is RBAC's; empty for what is no resource.
// Source: https://kubernetes.io/docs/reference/access-authn-authz/authorization/#determine-the-request-verb
func (r Request) verb() string {
	verbs := map[string]string{
		http.MethodGet: "get", http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete",
	}
	switch {
	case r.Ref == Ref{}:
		return ""
	case r.Ref.Name == "" && r.Method == http.MethodGet:
		return "list"
	case r.Ref.Name == "" && r.Method == http.MethodDelete:
		return "deletecollection"
	}
	return verbs[r.Method]
}

// Do sends a request and decodes the answer into out, unless that is nil;
// *json.RawMessage takes it as it is. It returns the warnings that came with the
// answer. An answer other than success is a *StatusError, wrapped.
func (c *Client) Do(ctx context.Context, r Request, out any) (warnings []string, err error) {
	if r.Path == "" {
		if r.Path, err = r.Ref.Path(); err != nil {
			return nil, err
		}
	}
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
		refused := statusError(resp.StatusCode, raw)
		refused.Verb, refused.Ref = r.verb(), r.Ref
		return warnings, fmt.Errorf("%s: %w", what, refused)
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
	if query := r.parameters(); len(query) > 0 {
		target += "?" + query.Encode()
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
	switch {
	case err == nil:
	case ctx.Err() != nil || errors.Is(err, ErrRedirect): // the cluster is not to blame
		return nil, fmt.Errorf("contact the API server: %w", err)
	default:
		return nil, fmt.Errorf("%w: %w", errNoAnswer, err)
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

// Get reads what has a path of its own.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	_, err := c.Do(ctx, Request{Method: http.MethodGet, Path: path}, out)
	return err
}

// Read reads an object.
func (c *Client) Read(ctx context.Context, ref Ref, out any) error {
	_, err := c.Do(ctx, Request{Method: http.MethodGet, Ref: ref}, out)
	return err
}

// List hands each object of a kind to a function, whose error ends it. A selector of
// labels is optional.
// Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks
func (c *Client) List(ctx context.Context, all Ref, selector string, each func(json.RawMessage) error) error {
	const perPage, most = 500, 2000
	query := url.Values{"limit": {strconv.Itoa(perPage)}}
	for range most {
		var page struct {
			Metadata struct{ Continue string }
			Items    []json.RawMessage
		}
		if _, err := c.Do(ctx, Request{Method: http.MethodGet, Ref: all, Selector: selector, query: query}, &page); err != nil {
			return err
		}
		for _, item := range page.Items {
			if err := each(item); err != nil {
				return err
			}
		}
		if page.Metadata.Continue == "" {
			return nil
		}
		query.Set("continue", page.Metadata.Continue)
	}
	return fmt.Errorf("list %s: there are more than %d", all.Plural(), perPage*most)
}

// Delete deletes an object. It reports whether it was there.
func (c *Client) Delete(ctx context.Context, ref Ref, dryRun bool) (bool, error) {
	if ref.Name == "" {
		return false, fmt.Errorf("delete %s: which one?", ref.Kind) // all, for the API server
	}
	_, err := c.Do(ctx, Request{Method: http.MethodDelete, Ref: ref, DryRun: dryRun}, nil)
	if IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// Namespaces are the names of the cluster's namespaces, to suggest one; none where the
// user may not list them.
func (c *Client) Namespaces(ctx context.Context) []string {
	return c.Names(ctx, Ref{APIVersion: "v1", Kind: "Namespace"})
}

// Accounts are the cluster's service accounts as NAMESPACE/NAME, to suggest one; none
// where the user may not list them.
func (c *Client) Accounts(ctx context.Context) []string {
	return c.Names(ctx, Ref{APIVersion: "v1", Kind: "ServiceAccount"})
}

// Names are those of all objects of a kind, as NAMESPACE/NAME where they have a namespace.
// Those that were listed before an error will do: names are for suggestions.
func (c *Client) Names(ctx context.Context, all Ref) []string {
	var names []string
	_ = c.List(ctx, all, "", func(raw json.RawMessage) error {
		var item struct {
			Metadata struct{ Namespace, Name string }
		}
		err := json.Unmarshal(raw, &item)
		names = append(names, path.Join(item.Metadata.Namespace, item.Metadata.Name))
		return err
	})
	return names
}

// NoNamespace is the finding that the cluster has no namespace of a name, with the one
// that may be meant.
func (c *Client) NoNamespace(ctx context.Context, name string) finding.Finding {
	return finding.NamespaceMissing(name, spelling.Suggest(name, c.Namespaces(ctx)))
}
