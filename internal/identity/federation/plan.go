package federation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"azwi/internal/azure"
	"azwi/internal/azure/arm"
	"azwi/internal/finding"
)

// An Action is what a change does.
type Action string

// The actions.
const (
	Add    Action = "add"
	Update Action = "change"
	Remove Action = "remove"
)

// A Change is one write of one credential.
type Change struct {
	// Action is add, change or remove.
	Action Action `json:"action"`
	// Identity is the name of the file's entry, or of the identity itself.
	Identity string `json:"identity"`
	// Name of the credential.
	Name string `json:"name"`
	// Issuer that the credential has after the change, or had when removed.
	Issuer string `json:"issuer"`
	// Subject that the credential has after the change, or had when removed.
	Subject string `json:"subject"`
	// Audience that the credential has after the change, or had when removed.
	Audience string `json:"audience"`

	target     Identity
	credential Credential
	before     Credential
}

// Target is the identity that is written to.
func (c Change) Target() Identity { return c.target }

// Before is the credential before a change or removal.
func (c Change) Before() Credential { return c.before }

func change(action Action, entry string, target Identity, before, after Credential) Change {
	return Change{
		Action: action, Identity: entry, Name: after.Name, Issuer: after.Issuer, Subject: after.Subject, Audience: after.Audience,
		target: target, credential: after, before: before,
	}
}

// A Kept credential is on an identity of the file, not wanted by it, and left
// alone.
type Kept struct {
	Identity   string
	Credential Credential
	Reason     finding.Finding
}

// A Plan is what has to be done. Changes to one identity are in the order in
// which to do them.
type Plan struct {
	Changes []Change
	Kept    []Kept
}

// Count is how many changes do that.
func (p Plan) Count(action Action) int {
	n := 0
	for _, c := range p.Changes {
		if c.Action == action {
			n++
		}
	}
	return n
}

// A Target is an identity of the file with what the file wants of it, and what
// it has.
type Target struct {
	Identity Identity
	// ClientID of an application; that of a managed identity is not asked for.
	ClientID string
	// Existing are all its credentials.
	Existing []Credential

	wanted []wanted
}

type wanted struct {
	entry      string
	cluster    string
	credential Credential
}

// parallel is how many identities are read or written side by side. Azure takes
// two writes a second in a subscription and one in four seconds on an identity:
// eight identities would do if no time was lost by waiting.
// Source: https://learn.microsoft.com/entra/workload-id/workload-identity-federation-considerations
const parallel = 12

// Targets finds the identities of a file and reads their credentials. audience is
// for entries that name none.
func (c *Client) Targets(ctx context.Context, f *File, audience string) ([]Target, error) {
	found := make([]Target, len(f.Identities))
	err := each(ctx, len(f.Identities), func(ctx context.Context, i int) error {
		var err error
		found[i], err = c.find(ctx, f.Identities[i])
		return err
	})
	if err != nil {
		return nil, err
	}
	targets, err := f.Targets(found, audience)
	if err != nil {
		return nil, err
	}
	return c.Fill(ctx, targets)
}

// Targets says what the file wants of its identities, which were found in the
// order of its entries. Entries of the same identity become one target.
func (f *File) Targets(found []Target, audience string) ([]Target, error) {
	at, clusters := map[string]int{}, f.clustersByName()
	var targets []Target
	for i, e := range f.Identities {
		key := found[i].Identity.key()
		t, ok := at[key]
		if !ok {
			t = len(targets)
			at[key] = t
			targets = append(targets, found[i])
		}
		targets[t].Identity.Name = min(targets[t].Identity.Name, e.Name)
		for _, w := range f.wants(e, clusters) {
			namespace, account, _ := strings.Cut(w.account, "/")
			targets[t].wanted = append(targets[t].wanted, wanted{
				entry: e.Name, cluster: w.cluster.Name,
				credential: found[i].Identity.Credential(namespace, account, w.cluster.Issuer, cmp.Or(e.Audience, audience), f.Name),
			})
		}
	}
	var problems []error
	for _, t := range targets {
		slices.SortFunc(t.wanted, func(a, b wanted) int {
			return cmp.Or(compare(a.credential, b.credential), strings.Compare(a.entry, b.entry))
		})
		for i := 1; i < len(t.wanted); i++ {
			if a, b := t.wanted[i-1], t.wanted[i]; compare(a.credential, b.credential) == 0 {
				problems = append(problems, fmt.Errorf("identities %s and %s are the same application and both name %s on cluster %s: keep one of the two",
					a.entry, b.entry, b.credential.Subject, b.cluster))
			}
		}
	}
	slices.SortFunc(targets, byName)
	return targets, errors.Join(problems...)
}

func byName(a, b Target) int {
	return cmp.Or(strings.Compare(a.Identity.Name, b.Identity.Name), strings.Compare(a.Identity.key(), b.Identity.key()))
}

// Fill sorts targets by name, leaves out all but the first of the same identity,
// and reads the credentials of the others, side by side.
func (c *Client) Fill(ctx context.Context, targets []Target) ([]Target, error) {
	seen := map[string]bool{}
	targets = slices.DeleteFunc(slices.Clone(targets), func(t Target) bool {
		again := seen[t.Identity.key()]
		seen[t.Identity.key()] = true
		return again
	})
	slices.SortFunc(targets, byName)
	return targets, each(ctx, len(targets), func(ctx context.Context, i int) error {
		var err error
		targets[i].Existing, err = c.List(ctx, targets[i].Identity)
		return err
	})
}

// compare orders credentials by issuer and subject.
func compare(a, b Credential) int {
	return cmp.Or(strings.Compare(a.Issuer, b.Issuer), strings.Compare(a.Subject, b.Subject))
}

// each calls f for 0 to n-1, some at a time, and returns all errors.
func each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	var group errgroup.Group
	group.SetLimit(parallel)
	errs := make([]error, n)
	for i := range n {
		group.Go(func() error {
			if errs[i] = ctx.Err(); errs[i] == nil {
				errs[i] = f(ctx, i)
			}
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs, all of them
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(errs...)
}

func (c *Client) find(ctx context.Context, e Entry) (Target, error) {
	if e.ManagedIdentity != "" {
		id, err := arm.ParseIdentityID(e.ManagedIdentity)
		return Target{Identity: Identity{Name: e.Name, ManagedIdentity: id}}, err
	}
	found, err := c.Application(ctx, *e.Application)
	if err != nil {
		return Target{}, fmt.Errorf("identity %s: %w", e.Name, err)
	}
	found.Identity.Name = e.Name
	return found, nil
}

// Application finds an application. It must be the only one.
func (c *Client) Application(ctx context.Context, a Application) (Target, error) {
	target := Target{Identity: Identity{Name: a.String()}}
	if a.Name != "" {
		found, err := c.config.Graph.ApplicationsByName(ctx, a.Name)
		switch {
		case err != nil:
			return target, err
		case len(found) == 0:
			return target, finding.ApplicationUnnamed(a.Name).Err(nil)
		case len(found) > 1:
			return target, finding.ApplicationAmbiguous(len(found), a.Name, "clientID").Err(nil)
		}
		target.Identity.ApplicationID, target.ClientID = found[0].ObjectID, found[0].ClientID
		return target, nil
	}
	find, id := c.config.Graph.ApplicationByClientID, a.ClientID
	if id == "" {
		find, id = c.config.Graph.ApplicationByObjectID, a.ObjectID
	}
	found, err := find(ctx, id)
	if azure.NotFound(err) {
		return target, finding.ApplicationMissing(id).Err(nil)
	}
	target.Identity = Identity{Name: cmp.Or(found.Name, id), ApplicationID: found.ObjectID}
	target.ClientID = found.ClientID
	return target, err
}

// Pruning says what becomes of credentials that azwi made and that the file does not
// want. What others made always stays.
type Pruning int

// The kinds of Pruning.
const (
	// Keep lets them stay, unless the file says otherwise.
	Keep Pruning = iota
	// Prune removes those whose cluster is in the file.
	Prune
	// PruneOnly removes those of other clusters too, and plans nothing else.
	PruneOnly
)

// Plan compares what the file wants with what there is. An identity that can't hold
// what is wanted is an error.
func (f *File) Plan(targets []Target, prune Pruning) (Plan, error) {
	if f.Prune {
		prune = max(prune, Prune)
	}
	var plan Plan
	var problems []error
	for _, t := range targets {
		one, err := f.planOne(t, prune)
		if err != nil {
			problems = append(problems, err)
		}
		plan.Changes = append(plan.Changes, one.Changes...)
		plan.Kept = append(plan.Kept, one.Kept...)
	}
	return plan, errors.Join(problems...)
}

func (f *File) planOne(t Target, prune Pruning) (Plan, error) {
	m := match(t)
	var removals []Change
	var kept []Kept
	for i, c := range t.Existing {
		if _, ok := m.owner[i]; ok {
			continue
		}
		if reason := f.keep(t.Identity, c, prune); reason != nil {
			kept = append(kept, Kept{Identity: t.Identity.Name, Credential: c, Reason: *reason})
		} else {
			removals = append(removals, change(Remove, t.Identity.Name, t.Identity, c, c))
		}
	}
	if prune == PruneOnly {
		return Plan{Changes: removals, Kept: kept}, nil
	}
	plan := Plan{Changes: slices.Concat(m.updates, m.adds, removals), Kept: kept}
	switch have := len(t.Existing); {
	case have+len(m.adds)-len(removals) > MaxCredentials:
		return Plan{}, &LimitError{Identity: t.Identity, Have: have, Adding: len(m.adds), Removing: len(removals)}
	case have+len(m.adds) > MaxCredentials:
		plan.Changes = slices.Concat(removals, m.updates, m.adds) // there is no room otherwise
	}
	return plan, nil
}

// keep says why a credential that the file does not want stays, or nil.
func (f *File) keep(identity Identity, c Credential, prune Pruning) *finding.Finding {
	file, marked := fileOf(c.Description)
	switch {
	case marked && file != "" && file != f.Name:
		return new(finding.CredentialOfFile(file))
	case !identity.Ours(c):
		return new(finding.CredentialOfOthers())
	case prune < PruneOnly && !slices.ContainsFunc(f.Clusters, func(known Cluster) bool { return known.Issuer == c.Issuer }):
		return new(finding.CredentialOfOtherCluster())
	case prune == Keep:
		return new(finding.CredentialNotInFile())
	}
	return nil
}

// A matching tells which existing credential serves which wanted one.
type matching struct {
	// owner has the index of the wanted credential by that of the existing one.
	owner   map[int]int
	updates []Change
	adds    []Change
}

// match gives each wanted credential the existing one of its issuer and subject,
// else changes the one of its name, else adds one. The one of its name may serve
// another wanted credential, if somebody changed it by hand: then it is taken
// back, and the other one looks for its own.
func match(t Target) matching {
	m := matching{owner: map[int]int{}}
	byPair, byName := map[[2]string]int{}, map[string]int{}
	for i, c := range t.Existing {
		if c.Subject != "" {
			byPair[[2]string{c.Issuer, c.Subject}] = i
		}
		byName[c.Name] = i
	}
	var open []int
	for w, want := range t.wanted {
		if i, ok := byPair[[2]string{want.credential.Issuer, want.credential.Subject}]; ok {
			m.owner[i] = w
		} else {
			open = append(open, w)
		}
	}
	taken := map[int]bool{}
	for len(open) > 0 {
		w := open[0]
		open = open[1:]
		want := t.wanted[w]
		i, ok := byName[want.credential.Name]
		if !ok {
			m.adds = append(m.adds, change(Add, want.entry, t.Identity, Credential{}, want.credential))
			continue
		}
		if other, ok := m.owner[i]; ok {
			// It changes first, so that its issuer and subject are free for the other's own.
			open = slices.Insert(open, 0, other)
		}
		m.owner[i], taken[i] = w, true
		after := want.credential
		after.id = t.Existing[i].id
		m.updates = append(m.updates, change(Update, want.entry, t.Identity, t.Existing[i], after))
	}
	for i, c := range t.Existing {
		w, ok := m.owner[i]
		if !ok || taken[i] || c.Audience == t.wanted[w].credential.Audience {
			continue
		}
		after := c
		after.Audience = t.wanted[w].credential.Audience
		m.updates = append(m.updates, change(Update, t.wanted[w].entry, t.Identity, c, after))
	}
	return m
}

// Removal plans the removal of what the file names, whoever made it, and of
// nothing else.
func Removal(targets []Target) Plan {
	var plan Plan
	for _, t := range targets {
		for _, w := range t.wanted {
			for _, c := range t.Existing {
				if compare(c, w.credential) == 0 {
					plan.Changes = append(plan.Changes, change(Remove, w.entry, t.Identity, c, c))
				}
			}
		}
	}
	return plan
}
