package doctor

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"azwi/internal/azure"
	"azwi/internal/finding"
	"azwi/internal/guid"
	"azwi/internal/identity/federation"
	"azwi/internal/identity/provision"
	"azwi/internal/token/entra"
)

// signedIn reports whether Azure can be asked about the pod's tenant.
func (x *examination) signedIn(l *Link) bool {
	if x.Azure != nil {
		return true
	}
	why := "not signed in to Azure"
	if x.NoAzure != nil {
		why = oneLine(x.NoAzure)
	}
	l.unknown(errSkipped(why))
	x.NoAzure = nil // it is told once
	return false
}

// identity finds whose the client ID is.
func (x *examination) identity(ctx context.Context, l *Link) {
	s := x.subject
	switch {
	case x.clientID == "" || !guid.Valid(x.clientID):
		notReached(l, LinkAccount)
		return
	case !x.signedIn(l):
		return
	}
	resolved, err := x.Azure.resolve(ctx, x.clientID)
	if azure.Forbidden(err) {
		err = finding.DirectoryForbidden().Err(err)
	}
	if err != nil {
		l.unknown(err)
		if azure.Refused(err).SignIn {
			x.Azure = nil // and so no later link asks in vain
		}
		return
	}
	x.resolved = &resolved
	tenant := cmp.Or(x.Azure.TenantID, x.tenantID)
	other := x.tenantID != "" && guid.Valid(x.tenantID) && guid.Valid(tenant) && !strings.EqualFold(x.tenantID, tenant)
	switch i := resolved.Identity; {
	case !resolved.Found && other:
		l.unknown(errSkipped("the pod's tenant is " + x.tenantID + ", and you are signed in to " + tenant))
	case !resolved.Found:
		l.because(finding.IdentityMissing(x.clientID, tenant))
	case resolved.ByObjectID:
		l.because(finding.ClientIDIsObjectID(s.namespace, s.account, x.clientID, i.ClientID))
	case other:
		l.because(finding.OtherTenant(s.namespace, s.account, x.tenantID, tenant))
	case i.PrincipalID == "":
		l.because(finding.PrincipalMissing(x.clientID))
	default:
		l.see("%s %s, client ID %s", kindOf(i), i.Name, i.ClientID)
	}
}

// resolve asks Microsoft Graph. Who may not read the directory finds managed identities of the
// subscription by Resource Manager.
func (a *Azure) resolve(ctx context.Context, clientID string) (provision.Resolved, error) {
	resolved, err := a.Resolve(ctx, clientID)
	if !azure.Forbidden(err) {
		return resolved, err
	}
	known, listErr := a.identities(ctx)
	if i, ok := known[strings.ToLower(clientID)]; ok && listErr == nil {
		return provision.Resolved{Identity: i, Found: true}, nil
	}
	return resolved, err
}

func kindOf(i provision.Identity) string {
	if i.Kind == provision.KindManagedIdentity {
		return "managed identity"
	}
	return "application"
}

// credential looks for the federated credential that the token needs.
func (x *examination) credential(ctx context.Context, l *Link) {
	switch {
	case x.clientID == "":
		notReached(l, LinkAccount)
		return
	case !x.signedIn(l):
		return
	case x.resolved == nil || !x.resolved.Found || x.resolved.ByObjectID || x.wrong(LinkIdentity) && x.resolved.Identity.PrincipalID != "":
		notReached(l, LinkIdentity)
		return
	case x.token.issuer == "":
		notReached(l, LinkToken)
		return
	}
	identity, ok := x.resolved.Identity.Federated()
	if !ok {
		l.unknown(errSkipped("the identity's federated credentials can't be read from this tenant"))
		return
	}
	existing, err := x.Azure.Credentials.List(ctx, identity)
	if err != nil {
		l.unknown(err)
		return
	}
	f, wrong := judge(finding.Wanted{
		Namespace: x.subject.namespace, Account: x.subject.account,
		Issuer: x.token.issuer, Subject: x.token.subject, Audience: x.token.audience,
		ResourceID: x.resolved.Identity.ResourceID, ClientID: x.clientID,
	}, existing)
	if wrong {
		l.because(f)
		return
	}
	x.federated = true
	l.see("one is for this issuer, subject and audience; used: %d of %d", len(existing), federation.MaxCredentials)
}

// judge compares an identity's credentials with the wanted one.
func judge(w finding.Wanted, existing []federation.Credential) (finding.Finding, bool) {
	match := federation.Nearest(existing, federation.Credential{Issuer: w.Issuer, Subject: w.Subject, Audience: w.Audience})
	switch c := match.Credential; {
	case match.Differs == federation.FieldSubject:
		return finding.CredentialSubject(w, c.Name, c.Subject), true
	case match.Differs == federation.FieldIssuer:
		return finding.CredentialIssuer(w, c.Name, c.Issuer), true
	case match.Differs == federation.FieldAudience:
		return finding.CredentialAudience(w, c.Name, c.Audience), true
	case c.Name == "" && len(existing) >= federation.MaxCredentials:
		return finding.CredentialsFull(w, federation.MaxCredentials), true
	case c.Name == "":
		return finding.CredentialMissing(w, len(existing)), true
	}
	return finding.Finding{}, false
}

// exchange tries the token at Entra, and has its answer explained by what was just seen.
func (x *examination) exchange(ctx context.Context, l *Link) {
	switch {
	case x.clientID == "" || x.tenantID == "":
		notReached(l, LinkAccount)
		return
	case x.Exchanger == nil:
		l.unknown(errSkipped("no token was requested"))
		return
	case x.token.raw == "":
		notReached(l, LinkToken)
		return
	}
	got, err := x.Exchanger.Exchange(ctx, entra.ExchangeRequest{TenantID: x.tenantID, ClientID: x.clientID, Resource: x.Resource, Assertion: x.token.raw})
	if err == nil {
		l.see("Entra gives a token for %s, good for %s", x.Resource, got.Lifetime.Round(time.Minute))
		return
	}
	answer, ok := errors.AsType[*entra.Error](err)
	if !ok {
		l.unknown(err)
		l.because(finding.EntraUnreachable())
		return
	}
	said := answer.Error()
	if cause := x.explains(answer); cause != "" {
		l.State = Wrong
		l.see("Entra answers: %s", said)
		l.see("the %s explains it", cause)
		return
	}
	l.see("Entra answers: %s", said)
	if answer.Class() == finding.Replication && x.federated {
		l.because(finding.CredentialSpreads(x.subject.namespace + "/" + x.subject.account))
		l.State = Wrong
		return
	}
	l.because(finding.ExchangeRefused(answer.Code, said, answer.Presented))
}

// explains is the link that is broken in a way that leads to Entra's answer.
func (x *examination) explains(answer *entra.Error) LinkName {
	for _, cause := range []struct {
		link LinkName
		fits bool
	}{
		{LinkAccount, true},
		{LinkIdentity, true},
		{LinkCredential, finding.AboutCredential(answer.Code)},
		{LinkIssuer, finding.AboutIssuer(answer.Code)},
	} {
		if cause.fits && x.wrong(cause.link) {
			return cause.link
		}
	}
	return ""
}

// role looks for what the identity may do.
func (x *examination) role(ctx context.Context, l *Link) {
	switch {
	case !x.signedIn(l):
		return
	case x.resolved == nil || x.resolved.Identity.PrincipalID == "":
		notReached(l, LinkIdentity)
		return
	}
	scope := x.Scope
	if scope == "" {
		if x.Azure.Subscription == "" {
			l.unknown(errSkipped("no scope was given"))
			return
		}
		scope = "/subscriptions/" + x.Azure.Subscription
	}
	principal := x.resolved.Identity.PrincipalID
	assigned, err := x.Azure.ARM.RoleAssignments(ctx, scope, principal, x.Scope == "")
	switch {
	case err != nil:
		l.unknown(err)
	case len(assigned) == 0:
		l.because(finding.RoleNotAssigned(principal, x.Scope))
		if x.Scope != "" {
			l.State = Wrong
		}
	default:
		l.see("role assignments: %d, at %s", len(assigned), scope)
	}
}
