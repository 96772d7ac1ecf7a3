package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"azwi/contract"
	"azwi/internal/azure"
	"azwi/internal/azure/arm"
	"azwi/internal/finding"
	"azwi/internal/identity/federation"
	"azwi/internal/kube"
)

// Clients ask Azure and Kubernetes.
type Clients struct {
	Azure
	Credentials *federation.Client
	// Cluster is nil if there is none; NoCluster says why.
	Cluster   *kube.Client
	NoCluster error
	// Audience finds out which audience the tokens of the cluster's pods have.
	// Default: contract.DefaultAudience.
	Audience func(context.Context, *kube.Client) (string, error)
}

// Seen is what there is before a run. The zero value is an empty world.
type Seen struct {
	// Issuer and Audience are the credential's, ClusterIssuer the cluster's where it
	// was asked for.
	Issuer, Audience, ClusterIssuer string
	// NoIssuer is why the cluster's issuer is not known.
	NoIssuer error
	// Reference is the request's, with the name that it left out.
	Reference Reference
	Identity  Identity
	// Found says that the identity exists.
	Found bool
	// PrincipalID is the object ID of who gets the role, and of the application's
	// service principal; empty if there is none.
	PrincipalID string
	// Account says that the service account exists, Changes what a run changes in it.
	Account bool
	Changes []Change
	// Credential is the one that exists for the service account, or will; Outcome says
	// which, and is empty if there is none to delete.
	Credential federation.Credential
	Outcome    federation.Outcome
	// RoleDefinition and RoleAssignment are resource IDs; empty if there is none.
	RoleDefinition, RoleAssignment string
	// Withheld is Azure's answer where something can't be read that a later step needs.
	// It ends the run, unless the check of permissions says it better.
	Withheld error
}

// withhold keeps the first error that the check of permissions may explain.
func (s *Seen) withhold(err error) { s.Withheld = cmp.Or(s.Withheld, err) }

// Look finds out what there is, and what the API server would refuse. It writes
// nothing.
func (c Clients) Look(ctx context.Context, r Request) (Seen, error) {
	s := Seen{Reference: r.Reference, Issuer: r.Issuer, Audience: r.Audience}
	if r.runs(PhaseAccount) && c.NoCluster != nil {
		return s, c.NoCluster
	}
	if r.runs(PhaseCredential) || r.unnamed() && !r.suffices() {
		if err := c.lookForIssuer(ctx, r, &s); err != nil {
			return s, err
		}
	}
	if err := c.lookForIdentity(ctx, r, &s); err != nil {
		return s, err
	}
	looks := []func(context.Context, Request, *Seen) error{c.lookForRole, c.lookForCredential, c.lookForAccount, c.lookForAssignment}
	for _, look := range looks {
		if err := look(ctx, r, &s); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (c Clients) lookForIssuer(ctx context.Context, r Request, s *Seen) error {
	if s.Issuer == "" || r.CompareIssuer {
		s.NoIssuer = c.NoCluster
		if s.NoIssuer == nil {
			s.ClusterIssuer, s.NoIssuer = c.Cluster.Issuer(ctx)
		}
		if s.NoIssuer != nil && s.Issuer == "" {
			return fmt.Errorf("%w; or give --service-account-issuer-url", s.NoIssuer)
		}
	}
	if s.Issuer == "" {
		s.Issuer = s.ClusterIssuer
		// The issuer is this cluster's, so its pods are the ones that will present the token.
		if s.Audience == "" && c.Audience != nil && !r.Remove {
			var err error
			if s.Audience, err = c.Audience(ctx, c.Cluster); err != nil {
				return fmt.Errorf("find out which audience the tokens of this cluster's pods have; or give --audience: %w", err)
			}
		}
	}
	s.Audience = cmp.Or(s.Audience, contract.DefaultAudience)
	return nil
}

func (c Clients) lookForIdentity(ctx context.Context, r Request, s *Seen) (err error) {
	if r.suffices() {
		s.Identity, s.Found = r.given(), true
		return nil
	}
	if r.unnamed() {
		s.Reference.Name = federation.ApplicationName(r.Namespace, r.Account, s.Issuer)
	}
	if s.Identity, s.Found, err = c.Find(ctx, s.Reference); err != nil || s.Found || r.Remove {
		return err
	}
	return r.mayCreate(s.Reference)
}

func (c Clients) lookForRole(ctx context.Context, r Request, s *Seen) (err error) {
	if !r.runs(PhaseRole) || r.Assignment != "" || r.Remove && !s.Found && !r.hasPrincipal() {
		return nil
	}
	if s.RoleDefinition, err = c.ARM.RoleDefinition(ctx, r.Scope, r.Role); azure.Forbidden(err) {
		s.withhold(err)
		return nil
	}
	return err
}

func (c Clients) lookForCredential(ctx context.Context, r Request, s *Seen) (err error) {
	if !r.runs(PhaseCredential) {
		return nil
	}
	identity, want := r.credential(*s, s.Identity)
	switch {
	case !s.Found && r.Remove:
		return nil
	case !s.Found:
		s.Credential, s.Outcome = want, federation.Created
		return nil
	case !r.Remove:
		s.Credential, s.Outcome, err = c.Credentials.Ensure(ctx, identity, want, true)
		if full, ok := errors.AsType[*federation.LimitError](err); ok {
			return full
		}
		s.withhold(err)
		return nil
	}
	existing, err := c.Credentials.List(ctx, identity)
	if err != nil && !azure.NotFound(err) {
		s.withhold(err)
		return nil
	}
	// One of that name for another issuer or subject is not the one.
	if found, ok := federation.Find(existing, want); ok && found.Issuer == want.Issuer && found.Subject == want.Subject {
		s.Credential, s.Outcome = found, federation.Unchanged
	}
	return nil
}

// lookForAccount lets the API server do everything but keep the result.
func (c Clients) lookForAccount(ctx context.Context, r Request, s *Seen) (err error) {
	if !r.runs(PhaseAccount) {
		return nil
	}
	if r.Remove {
		s.Account, err = Delete(ctx, c.Cluster, r.Namespace, r.Account, true)
		return err
	}
	account := r.account(s.Identity)
	if account.ClientID == "" {
		account.ClientID = newClientID
	}
	if account.TenantID == "" && s.Found {
		return finding.TenantUnknown().Err(nil)
	}
	var created bool
	created, s.Changes, err = Ensure(ctx, c.Cluster, account, true)
	s.Account = !created
	return adviseNamespace(err, r.Namespace)
}

func adviseNamespace(err error, namespace string) error {
	if kube.IsNotFound(err) {
		return fmt.Errorf("%w; %w", err, finding.NamespaceToCreate(namespace).Err(nil))
	}
	return err
}

// lookForAssignment finds the service principal too, which gets the role.
func (c Clients) lookForAssignment(ctx context.Context, r Request, s *Seen) (err error) {
	s.RoleAssignment = r.Assignment
	application := !r.Remove && r.runs(PhaseIdentity) && !s.Reference.IsManaged() && s.Found
	if application {
		if s.PrincipalID, err = c.FindPrincipal(ctx, Reference{}, s.Identity); err != nil {
			s.withhold(err)
			return nil
		}
		s.Identity.PrincipalID = s.PrincipalID
	}
	if !r.runs(PhaseRole) || r.Assignment != "" {
		return nil
	}
	if r.hasPrincipal() || s.Found && !application {
		if s.PrincipalID, err = c.FindPrincipal(ctx, s.Reference, s.Identity); err != nil {
			s.withhold(fmt.Errorf("look for the service principal: %w", err))
			return nil
		}
	}
	switch {
	case s.PrincipalID == "" && !r.Remove && (r.hasPrincipal() || !r.runs(PhaseIdentity)):
		return finding.PrincipalNotMade(s.Reference, string(PhaseIdentity)).Err(nil)
	case s.PrincipalID == "" || s.RoleDefinition == "":
		return nil
	}
	s.RoleAssignment, err = c.ARM.FindRoleAssignment(ctx, arm.RoleAssignment{Scope: r.Scope, RoleDefinitionID: s.RoleDefinition, PrincipalID: s.PrincipalID})
	if azure.Forbidden(err) && !r.Remove {
		return nil // who may assign roles need not be one who may read assignments
	}
	s.withhold(err)
	return nil
}
