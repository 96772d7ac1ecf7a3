package federation

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"azwi/internal/azure"
	"azwi/internal/azure/arm"
	"azwi/internal/azure/graph"
	"azwi/internal/finding"
)

// MaxCredentials is how many federated credentials an application or a managed
// identity holds at most.
// Source: https://learn.microsoft.com/entra/workload-id/workload-identity-federation-considerations
const MaxCredentials = 20

// Config of a Client.
type Config struct {
	// Graph and ARM are required, each if there are identities of its kind.
	Graph *graph.Client
	ARM   *arm.Client
	// Waiting is told before a refused request waits for another try. Optional.
	Waiting func(identity Identity, why error, delay time.Duration)
}

// A Client reads and writes the credentials of identities. It is safe for
// concurrent use: writes to one identity follow each other, as Azure wants it, and
// are tried again as azure.Retry says. Time is package time's.
type Client struct {
	config Config
	mu     sync.Mutex
	turns  map[string]chan struct{}
}

// NewClient makes a client. It sends nothing.
func NewClient(c Config) *Client {
	if c.Waiting == nil {
		c.Waiting = func(Identity, error, time.Duration) {}
	}
	return &Client{config: c, turns: map[string]chan struct{}{}}
}

// List returns an identity's credentials, sorted by issuer, subject and name.
func (c *Client) List(ctx context.Context, identity Identity) ([]Credential, error) {
	var all []Credential
	err := c.retry(ctx, identity, func(ctx context.Context) (err error) {
		all, err = c.list(ctx, identity)
		return err
	})
	slices.SortFunc(all, func(a, b Credential) int { return cmp.Or(compare(a, b), strings.Compare(a.Name, b.Name)) })
	return all, explain(identity, err)
}

func (c *Client) list(ctx context.Context, identity Identity) ([]Credential, error) {
	if !identity.IsApplication() {
		found, err := c.config.ARM.Credentials(ctx, identity.ManagedIdentity)
		if err != nil {
			return nil, err
		}
		all := make([]Credential, len(found))
		for i, f := range found {
			all[i] = Credential{Name: f.Name, Issuer: f.Issuer, Subject: f.Subject, Audience: f.Audience}
		}
		return all, nil
	}
	found, err := c.config.Graph.Credentials(ctx, identity.ApplicationID)
	if err != nil {
		return nil, err
	}
	all := make([]Credential, len(found))
	for i, f := range found {
		all[i] = Credential{Name: f.Name, Issuer: f.Issuer, Subject: f.Subject, Description: f.Description, id: f.ID}
		if len(f.Audiences) > 0 {
			all[i].Audience = f.Audiences[0]
		}
	}
	return all, nil
}

// Put creates the credential, or changes the listed one of that name.
func (c *Client) Put(ctx context.Context, identity Identity, credential Credential) error {
	return c.inTurn(ctx, identity, func() error { return c.put(ctx, identity, credential) })
}

// Delete removes a listed credential. One that is gone is no error.
func (c *Client) Delete(ctx context.Context, identity Identity, credential Credential) error {
	return c.inTurn(ctx, identity, func() error {
		err := c.retry(ctx, identity, func(ctx context.Context) error {
			if identity.IsApplication() {
				return c.config.Graph.DeleteCredential(ctx, identity.ApplicationID, credential.id)
			}
			return c.config.ARM.DeleteCredential(ctx, identity.ManagedIdentity, credential.Name)
		})
		if azure.NotFound(err) {
			return nil
		}
		return explain(identity, err)
	})
}

// An Outcome is what Ensure did.
type Outcome string

// The outcomes of Ensure.
const (
	Unchanged Outcome = "unchanged"
	Created   Outcome = "created"
	Updated   Outcome = "updated"
)

// Ensure makes sure that a credential does what want says, and returns the one
// that does: it may have another name. With dryRun it only tells what it would
// do.
func (c *Client) Ensure(ctx context.Context, identity Identity, want Credential, dryRun bool) (Credential, Outcome, error) {
	var outcome Outcome
	err := c.inTurn(ctx, identity, func() error {
		existing, err := c.List(ctx, identity)
		if err != nil {
			return err
		}
		found, ok := Find(existing, want)
		switch {
		case ok && found.Equivalent(want):
			want, outcome = found, Unchanged
			return nil
		case ok:
			want.Name, want.Description, want.id, outcome = found.Name, found.Description, found.id, Updated
		case len(existing) >= MaxCredentials:
			return &LimitError{Identity: identity, Have: len(existing), Adding: 1}
		default:
			outcome = Created
		}
		if dryRun {
			return nil
		}
		return c.put(ctx, identity, want)
	})
	return want, outcome, err
}

func (c *Client) put(ctx context.Context, identity Identity, credential Credential) error {
	err := c.retry(ctx, identity, func(ctx context.Context) error {
		if !identity.IsApplication() {
			return c.config.ARM.PutCredential(ctx, identity.ManagedIdentity, arm.Credential{
				Name: credential.Name, Issuer: credential.Issuer, Subject: credential.Subject, Audience: credential.Audience,
			})
		}
		out := graph.Credential{
			Name: credential.Name, Issuer: credential.Issuer, Subject: credential.Subject,
			Audiences: []string{credential.Audience}, Description: credential.Description,
		}
		if credential.id != "" {
			return c.config.Graph.UpdateCredential(ctx, identity.ApplicationID, credential.id, out)
		}
		return c.config.Graph.CreateCredential(ctx, identity.ApplicationID, out)
	})
	if status, _ := azure.StatusOf(err); credential.id == "" && (status == http.StatusConflict || status == http.StatusBadRequest) {
		// The answer to an earlier try may have been lost, or somebody else was as quick.
		if existing, listErr := c.List(ctx, identity); listErr == nil {
			if found, ok := Find(existing, credential); ok && found.Equivalent(credential) {
				return nil
			}
		}
	}
	return explain(identity, err)
}

// inTurn lets writes to one identity follow each other.
func (c *Client) inTurn(ctx context.Context, identity Identity, write func() error) error {
	c.mu.Lock()
	turn := c.turns[identity.key()]
	if turn == nil {
		turn = make(chan struct{}, 1)
		c.turns[identity.key()] = turn
	}
	c.mu.Unlock()
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-turn }()
	return write()
}

// retry sends a request again as long as that may help.
func (c *Client) retry(ctx context.Context, identity Identity, send func(context.Context) error) error {
	again := azure.Retry{Waiting: func(why error, pause time.Duration) { c.config.Waiting(identity, why, pause) }}
	if identity.Fresh {
		again.New = http.StatusNotFound
	}
	return again.Do(ctx, send)
}

// A LimitError says that an identity can't hold the credentials.
type LimitError struct {
	Identity Identity
	// Have is how many there are, Adding and Removing what was wanted.
	Have, Adding, Removing int
}

func (e *LimitError) Error() string {
	return finding.CredentialLimit(e.Identity, e.Have, e.Adding, e.Removing, MaxCredentials).Text()
}

// explain says what to do about a refusal that Azure explains badly.
func explain(identity Identity, err error) error {
	if err == nil {
		return nil
	}
	status, code := azure.StatusOf(err)
	var f finding.Finding
	switch {
	case status == http.StatusNotFound && identity.IsApplication():
		f = finding.ApplicationGone()
	case status == http.StatusNotFound:
		f = finding.ManagedIdentityMissing()
	case status == http.StatusForbidden:
		f = finding.CredentialsNotGranted(identity.IsApplication())
	case status == http.StatusMethodNotAllowed:
		f = finding.RegionWithoutCredentials()
	case code == azure.ConcurrentWrites:
		f = finding.CredentialsContested()
	case status == http.StatusTooManyRequests:
		f = finding.AzureThrottles()
	default:
		return fmt.Errorf("%s: %w", identity, err)
	}
	return finding.OfIdentity(identity, f).Err(err)
}
