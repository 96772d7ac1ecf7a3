package federation

import (
	"context"
	"fmt"
	"sync"
)

// Apply does the changes of a plan: those of one identity one after the other,
// those of different ones side by side. An identity's first failure ends its own
// changes only. done is told of each change, one at a time; its error is nil for
// those that were made. Whatever ends Apply early, a new plan has what is left.
func (c *Client) Apply(ctx context.Context, plan Plan, done func(Change, error)) error {
	var identities [][]Change
	at := map[string]int{}
	for _, change := range plan.Changes {
		key := change.target.key()
		i, ok := at[key]
		if !ok {
			i = len(identities)
			at[key] = i
			identities = append(identities, nil)
		}
		identities[i] = append(identities[i], change)
	}
	var mu sync.Mutex
	made := 0
	err := each(ctx, len(identities), func(ctx context.Context, i int) error {
		for n, change := range identities[i] {
			err := c.do(ctx, change)
			mu.Lock()
			if err == nil {
				made++
			}
			done(change, err)
			mu.Unlock()
			if err != nil {
				if left := len(identities[i]) - n - 1; left > 0 {
					err = fmt.Errorf("%w (%d more changes to it were not tried)", err, left)
				}
				return err
			}
		}
		return nil
	})
	if err != nil && ctx.Err() != nil {
		return NewInterrupted(made, len(plan.Changes), "changes are made", err)
	}
	return err
}

func (c *Client) do(ctx context.Context, change Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if change.Action == Remove {
		return c.Delete(ctx, change.target, change.before)
	}
	return c.Put(ctx, change.target, change.credential)
}

// Interrupted says how far Apply, or provision's, came before its context ended.
type Interrupted struct {
	Made, Of int
	done     string
	cause    error
}

// NewInterrupted says that made of so many are done, in words such as "changes are made".
func NewInterrupted(made, of int, done string, cause error) *Interrupted {
	return &Interrupted{made, of, done, cause}
}

func (e *Interrupted) Error() string {
	return fmt.Sprintf("interrupted: %d of %d %s; run the same command again for the rest", e.Made, e.Of, e.done)
}

// Interrupted marks an error that says how to go on.
func (e *Interrupted) Interrupted() {}

// Unwrap returns why.
func (e *Interrupted) Unwrap() error { return e.cause }
