package azure

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"azwi/internal/finding"
)

// When to ask again.
const (
	// Where the answer does not say; the pause doubles.
	firstPause = time.Second
	maxPause   = 30 * time.Second
	// patience bounds all tries of a Retry. With Azure's limit of one write in four
	// seconds per identity, and others that write as well, a few refusals are nothing
	// unusual.
	patience = 5 * time.Minute
	// retries bounds those of a single request without a Retry.
	retries = 5

	// While an object that was just created is not known everywhere.
	spreadPause = 4 * time.Second
	spreadTime  = 30 * time.Second
)

// A Retry asks Azure again while it refuses for the moment (see Refusal): for 5
// minutes, and as late as Retry-After says. The zero value works. Time is package
// time's.
type Retry struct {
	// New is the status by which the directory says that it does not know an object
	// which was just created, so that it is asked again for half a minute. Default: the
	// object is not new.
	New int
	// Waiting is told of a refusal, other than New, before another try is waited for.
	// Default: nobody.
	Waiting func(why error, pause time.Duration)
}

// Do calls send until it succeeds, or trying again does not help, and returns its error.
// With send's context the SDK itself sends each request once.
func (r Retry) Do(ctx context.Context, send func(context.Context) error) error {
	once := policy.WithRetryOptions(ctx, policy.RetryOptions{MaxRetries: -1})
	began, next := time.Now(), firstPause
	for {
		err := send(once)
		if err == nil || ctx.Err() != nil {
			return err
		}
		refusal := Refused(err)
		unknown := r.New != 0 && refusal.Status == r.New
		pause, most := spreadPause, spreadTime
		if !unknown {
			pause, most = cmp.Or(refusal.RetryAfter, next), patience
		}
		if refusal.SignIn || !unknown && refusal.Class != finding.Transient {
			return err
		}
		// Not all that were refused together again together.
		pause += rand.N(min(pause, maxPause)/4 + 1)
		if time.Since(began)+pause > most {
			return err
		}
		if !unknown {
			if refusal.RetryAfter == 0 {
				next = min(2*next, maxPause)
			}
			if r.Waiting != nil {
				r.Waiting(err, pause)
			}
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// retryOptions make the SDK judge as Retry does where there is none.
func retryOptions(o policy.RetryOptions) policy.RetryOptions {
	o.MaxRetries, o.RetryDelay = retries, cmp.Or(o.RetryDelay, firstPause)
	o.ShouldRetry = func(resp *http.Response, err error) bool {
		if err != nil {
			return true // a lost connection: the SDK has looked whether the error is final
		}
		// NewResponseError buffers the body, which the caller reads again.
		return resp.StatusCode >= http.StatusBadRequest && Refused(runtime.NewResponseError(resp)).Class == finding.Transient
	}
	return o
}
