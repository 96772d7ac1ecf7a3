package cli

import (
	"context"
	"errors"
	"fmt"

	"azwi/contract"
	"azwi/internal/azure"
	"azwi/internal/azure/arm"
	"azwi/internal/azure/permission"
	"azwi/internal/identity/federation"
	"azwi/internal/identity/provision"
)

func (r *root) deleteAccount(ctx context.Context, o *accountOptions, phases []string) error {
	a, err := r.accountRun(ctx, o, phases)
	if err != nil {
		return err
	}
	if o.whole {
		if err := a.prepareDeletion(ctx); err != nil {
			return err
		}
	}
	return a.runPhases(ctx, map[string]func(context.Context) error{
		phaseRole: a.unassign, phaseCredential: a.unfederate, phaseAccount: a.deleteServiceAccount, phaseApplication: a.deleteIdentity,
	})
}

func (a *accountRun) prepareDeletion(ctx context.Context) error {
	if a.runs(phaseAccount) && a.clusterErr != nil {
		return a.clusterErr
	}
	if a.runs(phaseCredential) {
		if err := a.needIssuer(ctx); err != nil {
			return err
		}
	}
	if err := a.find(ctx); err != nil {
		return err
	}
	if !a.o.check || a.o.dryRun {
		return nil
	}
	var needs []permission.Need
	if a.found && (a.runs(phaseCredential) || a.deletesIdentity()) {
		needs = provision.DeletionNeeds(a.reference, a.identity, a.deletesIdentity())
	}
	if scope := a.roleScope(); a.runs(phaseRole) && scope != "" {
		needs = append(needs, provision.RoleNeeds(scope, true)...)
	}
	return a.checkPermissions(ctx, a.session, needs)
}

// deletesIdentity reports whether the identity itself goes. A managed identity
// may be others' too, so only if that is asked for.
func (a *accountRun) deletesIdentity() bool {
	return a.runs(phaseApplication) && (!a.reference.IsManaged() || a.o.deleteManaged)
}

func (a *accountRun) roleScope() string {
	if a.o.assignment == "" {
		return a.o.scope
	}
	scope, _, _ := arm.ParseAssignmentID(a.o.assignment)
	return scope
}

// unfound looks the identity up in a run of one phase and reports whether there is
// none.
func (a *accountRun) unfound(ctx context.Context) (bool, error) {
	if !a.found && !a.o.whole {
		if err := a.find(ctx); err != nil {
			return false, err
		}
	}
	return !a.found, nil
}

func (a *accountRun) unassign(ctx context.Context) error {
	s := accountStep{Phase: phaseRole, What: a.o.assignment, Outcome: outcomeDeleted, ID: a.o.assignment}
	if a.o.assignment == "" {
		s.What = fmt.Sprintf("%s at %s", a.o.role, a.o.scope)
		id, err := a.findAssignment(ctx)
		if err != nil {
			return err
		}
		s.ID = id
	} else if _, _, err := arm.ParseAssignmentID(a.o.assignment); err != nil {
		return fmt.Errorf("--role-assignment-id: %w", err)
	}
	if s.ID == "" {
		s.Outcome = outcomeAbsent
	} else if !a.o.dryRun {
		deleted, err := a.session.arm.DeleteRoleAssignment(ctx, s.ID)
		if err != nil {
			return err
		}
		if !deleted {
			s.Outcome = outcomeAbsent
		}
	}
	a.step(s)
	return nil
}

// findAssignment returns nothing if there is no such assignment, or nobody who
// could have it.
func (a *accountRun) findAssignment(ctx context.Context) (string, error) {
	if a.reference.PrincipalID == "" && a.reference.PrincipalName == "" {
		if absent, err := a.unfound(ctx); absent || err != nil {
			return "", err
		}
	}
	principal, err := a.steps.FindPrincipal(ctx, a.reference, a.identity)
	if principal == "" || err != nil {
		return "", err
	}
	definition, err := a.session.arm.RoleDefinition(ctx, a.o.scope, a.o.role)
	if err != nil {
		return "", err
	}
	return a.session.arm.FindRoleAssignment(ctx, arm.RoleAssignment{Scope: a.o.scope, RoleDefinitionID: definition, PrincipalID: principal})
}

func (a *accountRun) unfederate(ctx context.Context) error {
	if err := a.needIssuer(ctx); err != nil {
		return err
	}
	s := accountStep{Phase: phaseCredential, What: "credential for " + contract.Subject(a.o.namespace, a.o.name), Outcome: outcomeAbsent}
	absent := false
	if a.reference.ObjectID != "" && !a.found {
		a.identity = provision.Identity{Kind: provision.KindApplication, ObjectID: a.reference.ObjectID}
	} else {
		var err error
		if absent, err = a.unfound(ctx); err != nil {
			return err
		}
	}
	if absent {
		a.step(s)
		return nil
	}
	identity := a.federated()
	existing, err := a.credentials.List(ctx, identity)
	switch {
	case azure.NotFound(err):
		existing = nil
	case err != nil:
		return err
	}
	want := identity.Credential(a.o.namespace, a.o.name, a.report.Issuer, a.audience, "")
	found, ok := federation.Find(existing, want)
	// One of that name for another issuer or subject is not the one.
	if ok && found.Issuer == want.Issuer && found.Subject == want.Subject {
		s = credentialStep(found, outcomeDeleted)
		if !a.o.dryRun {
			if err := a.credentials.Delete(ctx, identity, found); err != nil {
				return err
			}
		}
	}
	a.step(s)
	return nil
}

func (a *accountRun) deleteServiceAccount(ctx context.Context) error {
	if a.clusterErr != nil {
		return a.clusterErr
	}
	s := accountStep{Phase: phaseAccount, What: a.report.ServiceAccount, Outcome: outcomeAbsent}
	deleted, err := provision.Delete(ctx, a.cluster, a.o.namespace, a.o.name, a.o.dryRun)
	if err != nil {
		return err
	}
	if deleted {
		s.Outcome = outcomeDeleted
	}
	a.step(s)
	return nil
}

func (a *accountRun) deleteIdentity(ctx context.Context) error {
	if !a.deletesIdentity() {
		if !a.o.whole {
			return errors.New("a managed identity is deleted only with --delete-managed-identity")
		}
		return nil
	}
	absent, err := a.unfound(ctx)
	if err != nil {
		return err
	}
	s := accountStep{Phase: phaseApplication, What: a.reference.String(), Outcome: outcomeDeleted, ID: a.identity.ObjectID + a.identity.ResourceID}
	switch {
	case absent:
		s.Outcome = outcomeAbsent
	case !a.o.dryRun:
		if err := a.steps.Delete(ctx, a.reference, a.identity); err != nil {
			return err
		}
	}
	a.step(s)
	return nil
}
