package provision

import (
	"context"
	"fmt"

	"azwi/internal/azure/arm"
	"azwi/internal/finding"
	"azwi/internal/identity/federation"
)

// A Result is what a run leaves behind.
type Result struct {
	Identity Identity
	// Fresh says that the run made the identity, which Entra may not know everywhere
	// yet.
	Fresh bool
	// TenantID is the identity's.
	TenantID string
}

// A run carries out a plan.
type run struct {
	Clients
	request  Request
	seen     Seen
	identity Identity
	fresh    bool
}

// An action carries out a step, and corrects what the plan could not know of it.
type action func(*run, context.Context, *Step) error

// Apply carries out a plan, each step in its turn, and tells done of each. Every
// step finds what an earlier run has made, so an interrupted run is completed by
// another.
func (c Clients) Apply(ctx context.Context, p Plan, done func(Step)) (Result, error) {
	x := &run{Clients: c, request: p.request, seen: p.seen, identity: p.seen.Identity}
	var failure error
	made := 0
	for _, step := range p.Steps {
		if err := step.do(x, ctx, &step); err != nil {
			failure = fmt.Errorf("phase %s: %w", step.Phase, err)
			if ctx.Err() != nil {
				failure = federation.NewInterrupted(made, len(p.Steps), "steps are done", err)
			}
			break
		}
		made++
		done(step)
	}
	return Result{Identity: x.identity, Fresh: x.fresh, TenantID: x.request.account(x.identity).TenantID}, failure
}

func (x *run) ensureIdentity(ctx context.Context, s *Step) (err error) {
	if x.seen.Found {
		return nil
	}
	if x.seen.Reference.IsManaged() {
		x.identity, err = x.CreateManaged(ctx, x.seen.Reference.Managed, x.request.Location)
	} else {
		x.identity, err = x.CreateApplication(ctx, x.seen.Reference.Name)
	}
	x.fresh = err == nil
	s.What += ", client ID " + x.identity.ClientID
	s.ID = x.identity.ObjectID + x.identity.ResourceID
	return err
}

func (x *run) ensurePrincipal(ctx context.Context, s *Step) error {
	if s.ID != "" {
		return nil
	}
	id, created, err := x.EnsurePrincipal(ctx, x.identity, x.request.Tags)
	s.ID, s.Outcome, x.identity.PrincipalID = id, outcome(!created, false), id
	return err
}

func (x *run) ensureAccount(ctx context.Context, s *Step) error {
	account := x.request.account(x.identity)
	if account.TenantID == "" {
		return finding.TenantUnknown().Err(nil)
	}
	created, changes, err := Ensure(ctx, x.Cluster, account, false)
	s.Changes, s.Outcome = changes, accountOutcome(!created, changes)
	return adviseNamespace(err, account.Namespace)
}

func (x *run) ensureCredential(ctx context.Context, s *Step) error {
	identity, want := x.request.credential(x.seen, x.identity)
	identity.Fresh = x.fresh
	want, outcome, err := x.Credentials.Ensure(ctx, identity, want, false)
	s.What, s.ID, s.Outcome = credentialText(want), want.Name, Outcome(outcome)
	return err
}

func (x *run) ensureRole(ctx context.Context, s *Step) error {
	principal := x.seen.PrincipalID
	if principal == "" {
		principal = x.identity.PrincipalID
	}
	id, created, err := x.ARM.AssignRole(ctx, arm.RoleAssignment{Scope: x.request.Scope, RoleDefinitionID: x.seen.RoleDefinition, PrincipalID: principal})
	s.ID, s.Outcome = id, outcome(!created, false)
	return err
}

func (x *run) deleteRole(ctx context.Context, s *Step) error {
	if s.ID == "" {
		return nil
	}
	deleted, err := x.ARM.DeleteRoleAssignment(ctx, s.ID)
	s.Outcome = outcome(deleted, true)
	return err
}

func (x *run) deleteCredential(ctx context.Context, s *Step) error {
	if s.Outcome == Absent {
		return nil
	}
	identity, _ := x.request.credential(x.seen, x.identity)
	return x.Credentials.Delete(ctx, identity, x.seen.Credential)
}

func (x *run) deleteAccount(ctx context.Context, s *Step) error {
	deleted, err := Delete(ctx, x.Cluster, x.request.Namespace, x.request.Account, false)
	s.Outcome = outcome(deleted, true)
	return err
}

func (x *run) deleteIdentity(ctx context.Context, s *Step) error {
	if s.Outcome == Absent {
		return nil
	}
	return x.Delete(ctx, x.seen.Reference, x.identity)
}
