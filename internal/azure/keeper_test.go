package azure

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// A counter gives out tokens of an hour, or none.
type counter struct {
	asked int
	err   error
}

func (c *counter) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	c.asked++
	return azcore.AccessToken{ExpiresOn: time.Now().Add(time.Hour)}, c.err
}

func TestKeeper(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from := &counter{}
		k := &keeper{from: from}
		graph, arm := policy.TokenRequestOptions{Scopes: []string{"graph"}}, policy.TokenRequestOptions{Scopes: []string{"arm"}}
		refused := policy.TokenRequestOptions{Scopes: []string{"arm"}, Claims: "{}"}
		other := policy.TokenRequestOptions{Scopes: []string{"arm"}, TenantID: "t"}
		for _, step := range []struct {
			name  string
			ask   policy.TokenRequestOptions
			after time.Duration
			want  int
		}{
			{"first", graph, 0, 1},
			{"kept", graph, 0, 1},
			{"another resource", arm, 0, 2},
			{"another tenant", other, 0, 3},
			{"refused", refused, 0, 4},
			{"nearly over", arm, 54 * time.Minute, 4},
			{"over", arm, 2 * time.Minute, 5},
		} {
			<-time.After(step.after)
			if _, err := k.GetToken(t.Context(), step.ask); err != nil || from.asked != step.want {
				t.Errorf("%s: asked %d times, want %d; %v", step.name, from.asked, step.want, err)
			}
		}
		from.err = errors.New("az is missing")
		for range 2 { // no failure is kept
			if _, err := k.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{"vault"}}); err == nil {
				t.Error("an error is lost")
			}
		}
		if from.asked != 7 {
			t.Errorf("asked %d times, want 7", from.asked)
		}
	})
}
