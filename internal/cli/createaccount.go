package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"azwi/internal/azure"
	"azwi/internal/azure/arm"
	"azwi/internal/azure/permission"
	"azwi/internal/identity/federation"
	"azwi/internal/identity/provision"
	"azwi/internal/kube"
	"azwi/internal/version"
)

func (r *root) createAccount(ctx context.Context, o *accountOptions, phases []string) error {
	a, err := r.accountRun(ctx, o, phases)
	if err != nil {
		return err
	}
	if o.whole {
		if err := a.prepare(ctx); err != nil {
			return err
		}
	}
	err = a.runPhases(ctx, map[string]func(context.Context) error{
		phaseApplication: a.createIdentity, phaseAccount: a.annotate, phaseCredential: a.federate, phaseRole: a.assign,
	})
	if err != nil || !o.whole || o.dryRun || !o.wait.wait || !a.runs(phaseCredential) {
		return err
	}
	return a.waitForTokens(ctx)
}

// prepare finds out, before anything is written, what is there and what would be
// refused.
func (a *accountRun) prepare(ctx context.Context) error {
	if a.runs(phaseAccount) && a.clusterErr != nil {
		return a.clusterErr
	}
	if a.runs(phaseCredential) {
		if err := a.needIssuer(ctx); err != nil {
			return err
		}
		a.compareIssuers(ctx)
	}
	if given := a.given(); a.suffices(given) {
		a.identity, a.found = given, true
	} else if err := a.find(ctx); err != nil {
		return err
	}
	if err := a.mayCreate(); err != nil && !a.found {
		return err
	}
	roleErr := a.findRole(ctx)
	if roleErr != nil && !azure.Forbidden(roleErr) {
		return roleErr
	}
	if err := a.hasRoom(ctx); err != nil {
		return err
	}
	if a.runs(phaseAccount) && !a.o.dryRun {
		account := a.account()
		if account.ClientID == "" {
			account.ClientID = newClientID
		}
		if _, _, err := provision.Ensure(ctx, a.cluster, account, true); err != nil {
			return a.adviseNamespace(err)
		}
	}
	if !a.o.check {
		return roleErr
	}
	var needs []permission.Need
	if a.runs(phaseApplication) || a.runs(phaseCredential) {
		needs = provision.Needs(a.reference, a.identity, a.found)
	}
	if a.runs(phaseRole) {
		needs = append(needs, provision.RoleNeeds(a.o.scope, false)...)
	}
	// It tells which right is missing, which roleErr does not.
	return cmp.Or(a.checkPermissions(ctx, a.session, needs), roleErr)
}

// given is what the flags say of an application.
func (a *accountRun) given() provision.Identity {
	return provision.Identity{Kind: provision.KindApplication, ClientID: a.reference.ClientID, ObjectID: a.reference.ObjectID}
}

// suffices reports whether the phases can do with what is known of an
// application, so that the caller need not be allowed to read it.
func (a *accountRun) suffices(i provision.Identity) bool {
	switch {
	case a.runs(phaseApplication),
		a.runs(phaseAccount) && i.ClientID == "",
		a.runs(phaseCredential) && i.ObjectID == "",
		a.runs(phaseRole) && i.ClientID == "" && a.reference.PrincipalID == "" && a.reference.PrincipalName == "":
		return false
	}
	return true
}

// newClientID stands for that of an identity that is still to be made.
const newClientID = "00000000-0000-0000-0000-000000000000"

// compareIssuers warns if tokens of this cluster will not match the credential.
func (a *accountRun) compareIssuers(ctx context.Context) {
	issuer, err := a.readIssuer(ctx)
	if err == nil && issuer != a.report.Issuer {
		a.log.Warn("the cluster's tokens have another issuer than the federated credential will have; they will not match", "cluster", issuer, "credential", a.report.Issuer)
	}
}

// mayCreate is the error if the identity does not exist and shall not be made.
func (a *accountRun) mayCreate() error {
	switch {
	case a.reference.IsManaged() && !a.o.createManaged:
		return fmt.Errorf("there is no %s: create it with --create-managed-identity, or az identity create", a.reference)
	case !a.reference.IsManaged() && (a.reference.ClientID != "" || a.reference.ObjectID != ""):
		return fmt.Errorf("there is no %s in this tenant: check the ID and --tenant-id, or give --aad-application-name to create one", a.reference)
	case !a.reference.IsManaged() && utf8.RuneCountInString(a.reference.Name) > provision.MaxApplicationName:
		return fmt.Errorf("the application's default name (namespace, service account and a hash of the issuer) has %d characters, and Entra takes at most %d: give a shorter one with --aad-application-name",
			utf8.RuneCountInString(a.reference.Name), provision.MaxApplicationName)
	case !a.runs(phaseApplication):
		return fmt.Errorf("there is no %s: create it with azwi serviceaccount create phase %s", a.reference, phaseApplication)
	}
	return nil
}

// findRole looks the role up at its scope, once.
func (a *accountRun) findRole(ctx context.Context) (err error) {
	if !a.runs(phaseRole) || a.role != "" {
		return nil
	}
	a.role, err = a.session.arm.RoleDefinition(ctx, a.o.scope, a.o.role)
	return err
}

// hasRoom is the error if an identity that exists can't hold another credential.
func (a *accountRun) hasRoom(ctx context.Context) error {
	if !a.runs(phaseCredential) || !a.found {
		return nil
	}
	if err := a.needIssuer(ctx); err != nil {
		return err
	}
	identity := a.federated()
	_, _, err := a.credentials.Ensure(ctx, identity, identity.Credential(a.o.namespace, a.o.name, a.report.Issuer, a.audience, ""), true)
	if limit, ok := errors.AsType[*federation.LimitError](err); ok {
		return limit
	}
	// The phase itself, and the check of permissions, say more about other errors.
	return nil
}

func (a *accountRun) adviseNamespace(err error) error {
	if kube.IsNotFound(err) {
		return fmt.Errorf("%w; create it: kubectl create namespace %s", err, a.o.namespace)
	}
	return err
}

func (a *accountRun) createIdentity(ctx context.Context) error {
	if !a.o.whole {
		if err := a.find(ctx); err != nil {
			return err
		}
	}
	outcome := outcomeUnchanged
	if !a.found {
		if err := a.mayCreate(); err != nil {
			return err
		}
		outcome = outcomeCreated
		if err := a.make(ctx); err != nil {
			return err
		}
	}
	s := accountStep{Phase: phaseApplication, What: a.reference.String(), Outcome: outcome, ID: a.identity.ObjectID + a.identity.ResourceID}
	if a.identity.ClientID != "" {
		s.What += ", client ID " + a.identity.ClientID
	}
	a.step(s)
	a.noteIdentity()
	if a.reference.IsManaged() {
		return nil
	}
	return a.createPrincipal(ctx)
}

func (a *accountRun) make(ctx context.Context) (err error) {
	switch {
	case a.o.dryRun:
		return nil
	case a.reference.IsManaged():
		a.identity, err = a.steps.CreateManaged(ctx, a.reference.Managed, a.o.location)
	default:
		a.identity, err = a.steps.CreateApplication(ctx, a.reference.Name)
	}
	a.found, a.fresh = err == nil, true
	return err
}

func (a *accountRun) createPrincipal(ctx context.Context) error {
	s := accountStep{Phase: phaseApplication, What: "its service principal", Outcome: outcomeUnchanged}
	if a.o.dryRun {
		if a.found {
			id, err := a.steps.FindPrincipal(ctx, provision.Reference{}, a.identity)
			if err != nil {
				return err
			}
			s.ID = id
		}
		if s.ID == "" {
			s.Outcome = outcomeCreated
		}
		a.step(s)
		return nil
	}
	if a.identity.ClientID == "" {
		return nil // --aad-application-object-id alone was given, with no right to read it
	}
	id, created, err := a.steps.EnsurePrincipal(ctx, a.identity, provision.Tags(a.o.namespace, a.o.name, version.String()))
	if err != nil {
		return err
	}
	if created {
		s.Outcome = outcomeCreated
	}
	s.ID, a.identity.PrincipalID = id, id
	a.noteIdentity()
	a.step(s)
	return nil
}

// need finds the identity, in a run of one phase, unless what the phase needs was
// given.
func (a *accountRun) need(ctx context.Context) error {
	if a.found || a.o.whole {
		return nil
	}
	if given := a.given(); a.suffices(given) {
		a.identity, a.found = given, true
		a.noteIdentity()
		return nil
	}
	if err := a.find(ctx); err != nil {
		return err
	}
	if !a.found {
		return a.mayCreate()
	}
	return nil
}

func (a *accountRun) account() provision.Account {
	tenant := a.session.tenant
	if tenant == "" {
		tenant = a.identity.TenantID
	}
	return provision.Account{
		Namespace: a.o.namespace, Name: a.o.name, ClientID: a.identity.ClientID, TenantID: tenant, TokenExpiration: a.o.expiration,
	}
}

func (a *accountRun) annotate(ctx context.Context) error {
	if a.clusterErr != nil {
		return a.clusterErr
	}
	if err := a.need(ctx); err != nil {
		return err
	}
	account := a.account()
	if account.TenantID == "" {
		return errors.New("the tenant is not known: give --tenant-id, or --subscription-id to find it out")
	}
	if account.ClientID == "" {
		account.ClientID = newClientID // of a dry run
	}
	created, changes, err := provision.Ensure(ctx, a.cluster, account, a.o.dryRun)
	if err != nil {
		return a.adviseNamespace(err)
	}
	s := accountStep{Phase: phaseAccount, What: a.report.ServiceAccount, Outcome: outcomeUnchanged, Changes: changes}
	switch {
	case created:
		s.Outcome = outcomeCreated
	case len(changes) > 0:
		s.Outcome = outcomeUpdated
	}
	a.step(s)
	return nil
}

func (a *accountRun) federate(ctx context.Context) error {
	if err := a.needIssuer(ctx); err != nil {
		return err
	}
	if err := a.need(ctx); err != nil {
		return err
	}
	identity := a.federated()
	want := identity.Credential(a.o.namespace, a.o.name, a.report.Issuer, a.audience, "")
	if !a.found {
		a.step(credentialStep(want, outcomeCreated)) // of a dry run
		return nil
	}
	want, outcome, err := a.credentials.Ensure(ctx, identity, want, a.o.dryRun)
	if err != nil {
		return err
	}
	a.step(credentialStep(want, string(outcome)))
	return nil
}

func credentialStep(c federation.Credential, outcome string) accountStep {
	return accountStep{Phase: phaseCredential, What: fmt.Sprintf("credential %s for %s", c.Name, c.Subject), Outcome: outcome, ID: c.Name}
}

func (a *accountRun) assign(ctx context.Context) error {
	s := accountStep{Phase: phaseRole, What: fmt.Sprintf("%s at %s", a.o.role, a.o.scope), Outcome: outcomeCreated}
	principal, err := a.principal(ctx)
	if err != nil {
		return err
	}
	if principal == "" && a.o.dryRun {
		a.step(s)
		return nil
	}
	if principal == "" {
		return fmt.Errorf("%s has no service principal: create it with azwi serviceaccount create phase %s", a.reference, phaseApplication)
	}
	if err := a.findRole(ctx); err != nil {
		return err
	}
	assignment := arm.RoleAssignment{Scope: a.o.scope, RoleDefinitionID: a.role, PrincipalID: principal}
	var created bool
	if a.o.dryRun {
		s.ID, err = a.session.arm.FindRoleAssignment(ctx, assignment)
		created = s.ID == ""
	} else {
		s.ID, created, err = a.session.arm.AssignRole(ctx, assignment)
	}
	if err != nil {
		return err
	}
	if !created {
		s.Outcome = outcomeUnchanged
	}
	a.step(s)
	return nil
}

// principal is the object ID of who gets the role; empty if there is none.
func (a *accountRun) principal(ctx context.Context) (string, error) {
	if a.reference.PrincipalID == "" && a.reference.PrincipalName == "" {
		if err := a.need(ctx); err != nil {
			return "", err
		}
	}
	id, err := a.steps.FindPrincipal(ctx, a.reference, a.identity)
	if err != nil {
		return "", fmt.Errorf("look for the service principal: %w", err)
	}
	return id, nil
}

// waitForTokens waits until the credential works, if this cluster's tokens can
// tell.
func (a *accountRun) waitForTokens(ctx context.Context) error {
	cluster := a.cluster
	issuer, err := a.readIssuer(ctx)
	if err == nil {
		err = a.needIssuer(ctx)
	}
	switch {
	case err != nil:
		a.log.Warn("not waiting until the credential works: the cluster can't be asked", "error", azure.Brief(err))
		return nil
	case issuer != a.report.Issuer:
		a.log.Warn("not waiting until the credential works: it is for another issuer than this cluster's")
		return nil
	}
	account := a.account()
	if account.ClientID == "" || account.TenantID == "" {
		a.log.Warn("not waiting until the credential works: its client ID or tenant is not known")
		return nil
	}
	return a.waitUntilUsable(ctx, a.o.wait, cluster, a.session.cloud, []waitTarget{{
		namespace: account.Namespace, serviceAccount: account.Name, audience: a.audience,
		tenantID: account.TenantID, clientID: account.ClientID, written: time.Now(), newIdentity: a.fresh,
	}})
}
