package azure

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"azwi/internal/finding"
)

// A keeper keeps tokens. The SDK's other credentials do so themselves; the one of
// az runs it, for half a second, each time.
type keeper struct {
	from azcore.TokenCredential
	// tenant to sign in to again; may be empty.
	tenant string
	// waiting is told when az is run.
	waiting waits
	mu      sync.Mutex
	kept    map[string]azcore.AccessToken
}

// keepUntil is how long before its end a token is no longer given out.
const keepUntil = 5 * time.Minute

// GetToken implements azcore.TokenCredential. Concurrent callers share
// one run.
func (k *keeper) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	key := o.TenantID + " " + strings.Join(o.Scopes, " ")
	k.mu.Lock()
	defer k.mu.Unlock()
	// Claims are asked for when a token was refused.
	if token, ok := k.kept[key]; ok && o.Claims == "" && time.Until(token.ExpiresOn) > keepUntil {
		return token, nil
	}
	done := k.waiting.begin("az")
	token, err := k.from.GetToken(ctx, o)
	done()
	if err != nil && ctx.Err() == nil {
		err = finding.AzNoToken(err.Error(), k.tenant).Err(err)
	}
	if err != nil {
		return azcore.AccessToken{}, err
	}
	if k.kept == nil {
		k.kept = map[string]azcore.AccessToken{}
	}
	k.kept[key] = token
	return token, nil
}
