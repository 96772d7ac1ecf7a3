package azure

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"azwi/internal/version"
)

// ServiceConfig configures a Service.
type ServiceConfig struct {
	// Endpoint is its URL, for example https://graph.microsoft.com. Required.
	Endpoint string
	// Audience is the resource of its tokens. Default: Endpoint.
	Audience string
	// Credential signs in. Required.
	Credential azcore.TokenCredential
	// Options of the pipeline. The zero value works.
	Options azcore.ClientOptions
}

// A Service is one of Azure's APIs: Graph or Resource Manager. It is safe for concurrent
// use.
type Service struct {
	// Endpoint has no slash at its end.
	Endpoint   string
	credential azcore.TokenCredential
	scopes     []string
	options    azcore.ClientOptions
	pipeline   runtime.Pipeline
}

// NewService makes a service. It sends nothing.
func NewService(c ServiceConfig) *Service {
	s := &Service{
		Endpoint: strings.TrimSuffix(c.Endpoint, "/"), credential: c.Credential,
		scopes:  []string{strings.TrimSuffix(cmp.Or(c.Audience, c.Endpoint), "/") + "/.default"},
		options: c.Options,
	}
	g := &guard{origins: []string{originOf(c.Endpoint)}}
	s.options.Transport = newGuard(c.Options.Transport, g)
	// Before the SDK asks for a token, and again for what redirects lead to.
	s.options.PerCallPolicies = append(slices.Clone(c.Options.PerCallPolicies), g)
	s.options.Retry = retryOptions(c.Options.Retry)
	s.pipeline = runtime.NewPipeline("azwi", version.String(), runtime.PipelineOptions{
		PerRetry: []policy.Policy{runtime.NewBearerTokenPolicy(s.credential, s.scopes, nil)},
	}, &s.options)
	return s
}

// SDK is what the SDK's own clients of the service are made with. They send requests, those
// of redirects and next pages too, to the service's own origin (scheme, host and port) and
// nowhere else, because the access token goes with them. The size and duration of each
// answer is bounded; errors about answers are *AnswerError. They try again when Retry does.
func (s *Service) SDK() (azcore.TokenCredential, azcore.ClientOptions) {
	return s.credential, s.options
}

// Token is the access token that requests are sent with.
func (s *Service) Token(ctx context.Context) (string, error) {
	token, err := s.credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: s.scopes, EnableCAE: true})
	return token.Token, err
}

// Do sends a request, in as JSON unless it is nil, and reads the answer into out, unless
// that is nil.
func (s *Service) Do(ctx context.Context, method, target string, in, out any) error {
	req, err := runtime.NewRequest(ctx, method, target)
	if err != nil {
		return err
	}
	req.Raw().Header.Set("Accept", "application/json")
	if in != nil {
		if err := runtime.MarshalAsJSON(req, in); err != nil {
			return err
		}
	}
	resp, err := s.pipeline.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if !runtime.HasStatusCode(resp, http.StatusOK, http.StatusCreated, http.StatusNoContent) {
		return runtime.NewResponseError(resp)
	}
	if out == nil {
		runtime.Drain(resp)
		return nil
	}
	if err := runtime.UnmarshalAsJSON(resp, out); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}

// Pages reads a list of a service, see List. get reads one page.
func Pages[T any](ctx context.Context, first string, get func(ctx context.Context, target string, out any) error) ([]T, error) {
	type page struct {
		Value []T    `json:"value"`
		Next  string `json:"nextLink"`
		OData string `json:"@odata.nextLink"`
	}
	next := func(p page) string { return cmp.Or(p.Next, p.OData) }
	return List(ctx, runtime.NewPager(runtime.PagingHandler[page]{
		More: func(p page) bool { return next(p) != "" },
		Fetcher: func(ctx context.Context, before *page) (p page, err error) {
			target := first
			if before != nil {
				target = next(*before)
			}
			err = get(ctx, target, &p)
			return p, err
		},
	}), func(p page) []T { return p.Value })
}
