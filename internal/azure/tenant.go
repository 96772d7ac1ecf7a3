package azure

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"azwi/internal/finding"
)

// TenantOf finds a subscription's tenant without signing in: Resource Manager
// names it in the challenge of its refusal.
// Source: https://learn.microsoft.com/azure/azure-resource-manager/management/authenticate-multi-tenant
func (c SignIn) TenantOf(ctx context.Context, subscription string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	target := c.Cloud.ResourceManager + "/subscriptions/" + url.PathEscape(subscription) + "?api-version=2021-01-01"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return "", fmt.Errorf("find the tenant of subscription %s: %w", subscription, err)
	}
	defer waits(c.Waiting).begin(req.URL.Host)()
	resp, err := newGuard(c.HTTP, &guard{origins: []string{originOf(target)}}).Do(req)
	if err != nil {
		return "", fmt.Errorf("find the tenant of subscription %s: %w", subscription, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return "", finding.SubscriptionUnknown(subscription).Err(nil)
	}
	tenant := tenantInChallenge(resp.Header.Get("WWW-Authenticate"))
	if tenant == "" {
		return "", fmt.Errorf("find the tenant of subscription %s: %w", subscription, errors.New("the answer "+resp.Status+" does not name it"))
	}
	return tenant, nil
}

// tenantInChallenge returns the tenant of a challenge such as
// Bearer authorization_uri="https://login.windows.net/TENANT", error="invalid_token".
func tenantInChallenge(challenge string) string {
	match := regexp.MustCompile(`authorization(?:_uri)?="([^"]+)"`).FindStringSubmatch(challenge)
	if match == nil {
		return ""
	}
	authority, err := url.Parse(match[1])
	if err != nil {
		return ""
	}
	tenant, _, _ := strings.Cut(strings.TrimPrefix(authority.Path, "/"), "/")
	return tenant
}
