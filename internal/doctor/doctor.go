package doctor

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"azwi/contract"
	"azwi/internal/azure"
	"azwi/internal/finding"
	"azwi/internal/identity/federation"
	"azwi/internal/identity/provision"
	"azwi/internal/kube"
	"azwi/internal/pod/workload"
	"azwi/internal/spelling"
	"azwi/internal/token/entra"
)

// Config says whom to ask. What is missing makes links unknown.
type Config struct {
	// Cluster is required, but for ExamineFederation.
	Cluster *kube.Client
	// Given are objects as files have them, which stand in for the cluster's. Each has its
	// namespace. Optional.
	Given []map[string]any
	// Azure is nil if nobody is signed in; NoAzure says why.
	Azure   *Azure
	NoAzure error
	// Cloud is where the identities are. Default: the public one.
	Cloud entra.Cloud
	// Exchanger tries the token at Cloud's authority. Nil: tokens are not requested.
	Exchanger *entra.Exchanger
	// Issuers fetches what issuers publish. Default: a client with a timeout of 10 s.
	Issuers http.Client
	// TenantID is used where neither pod nor service account names a tenant. Optional.
	TenantID string
	// Resource is what the trial token is for. Default: Resource Manager.
	Resource string
	// Scope at which a role is looked for. Default: the subscription, where nothing found is
	// a warning.
	Scope string
	// ReadsPerSecond bounds how often Survey reads credentials. Azure takes 5 in a
	// subscription. Default: as often as answers come.
	// Source: https://learn.microsoft.com/entra/workload-id/workload-identity-federation-considerations
	ReadsPerSecond float64
	// Only are the links to tell of: those that they need are looked at, too. Skip are
	// those to leave out. Default: all, none.
	Only, Skip []LinkName
	// Timeout of each link. Default: 20 s.
	Timeout time.Duration
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// Azure is a signed-in caller.
type Azure struct {
	provision.Azure
	Credentials *federation.Client
	// TenantID and Subscription may be empty.
	TenantID, Subscription string
}

// A Doctor examines workloads. It is safe for concurrent use.
type Doctor struct{ config Config }

// New makes a Doctor. It sends nothing.
func New(c Config) *Doctor {
	if c.Cloud.AuthorityHost == "" {
		c.Cloud = entra.Clouds()[0]
	}
	if c.Issuers.Timeout == 0 {
		c.Issuers.Timeout = 10 * time.Second
	}
	if c.Timeout == 0 {
		c.Timeout = 20 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Resource == "" {
		c.Resource = c.Cloud.ResourceManagerAudiences[0]
	}
	return &Doctor{c}
}

// An examination is one walk along the chain. A link leaves in it what later ones need.
type examination struct {
	Config
	report  *Report
	subject *subject
	// expected is what a new pod gets; nil before injection was looked at.
	expected *workload.Running
	clientID string
	tenantID string
	token    token
	resolved *provision.Resolved
	// federated: a credential is right.
	federated bool
}

// Examine walks the chain of a pod, a workload or a service account. The error is about the
// subject itself, such as one that does not exist; all else is in the report.
func (d *Doctor) Examine(ctx context.Context, ref kube.Ref) (*Report, error) {
	x := &examination{Config: d.config, report: &Report{Subject: ref}}
	var err error
	if x.subject, err = x.readSubject(ctx, ref); err != nil {
		return nil, x.explain(ctx, ref, err)
	}
	err = x.walk(ctx, []step{
		{LinkWorkload, x.workload},
		{LinkInstallation, x.installation},
		{LinkInjection, x.injection},
		{LinkAccount, x.account},
		{LinkToken, x.requestToken},
		{LinkIssuer, x.issuer},
		{LinkIdentity, x.identity},
		{LinkCredential, x.credential},
		{LinkExchange, x.exchange},
		{LinkRole, x.role},
		{LinkProxy, x.proxy},
		{LinkEvents, x.events},
	})
	if err != nil {
		return nil, err
	}
	x.reconcile()
	if len(x.Only) > 0 {
		x.report.Links = slices.DeleteFunc(x.report.Links, func(l Link) bool { return !slices.Contains(x.Only, l.Name) })
	}
	return x.report, nil
}

// A step looks at one link.
type step struct {
	name LinkName
	look func(context.Context, *Link)
}

// walk takes the steps one after another, each within its time.
func (x *examination) walk(ctx context.Context, steps []step) error {
	for _, s := range steps {
		link := Link{Name: s.name}
		if slices.Contains(x.Skip, s.name) {
			link.State = Skipped
			x.report.Links = append(x.report.Links, link)
			continue
		}
		limited, cancel := context.WithTimeout(ctx, x.Timeout)
		s.look(limited, &link)
		cancel()
		if err := ctx.Err(); err != nil {
			return err
		}
		if link.State == "" {
			link.State = OK
		}
		x.report.Links = append(x.report.Links, link)
	}
	return nil
}

// A Federation is what a token presents, and the client ID of the identity that it is for.
type Federation struct {
	Issuer, Subject, Audience string
	ClientID                  string
}

// ExamineFederation walks the links beyond a cluster: the issuer, the identity, its
// credential and its role. No token is tried.
func (d *Doctor) ExamineFederation(ctx context.Context, f Federation) (*Report, error) {
	x := &examination{Config: d.config, report: &Report{Subject: kube.Ref{Kind: "Subject", Name: f.Subject}}, subject: &subject{}}
	x.subject.namespace, x.subject.account, _ = federation.ParseSubject(f.Subject)
	x.clientID, x.tenantID = f.ClientID, d.config.TenantID
	x.token = token{issuer: f.Issuer, subject: f.Subject, audience: cmp.Or(f.Audience, contract.DefaultAudience)}
	err := x.walk(ctx, []step{{LinkIssuer, x.issuer}, {LinkIdentity, x.identity}, {LinkCredential, x.credential}, {LinkRole, x.role}})
	return x.report, err
}

// explain says of a subject that does not exist which one may be meant.
func (x *examination) explain(ctx context.Context, ref kube.Ref, err error) error {
	if !kube.IsNotFound(err) {
		return err
	}
	namespaces := x.Cluster.Namespaces(ctx)
	if len(namespaces) > 0 && !slices.Contains(namespaces, ref.Namespace) {
		return finding.NamespaceMissing(ref.Namespace, spelling.Suggest(ref.Namespace, namespaces)).Err(err)
	}
	all := ref
	all.Name = ""
	names := x.Cluster.Names(ctx, all)
	for i := range names {
		names[i] = path.Base(names[i])
	}
	return finding.ObjectMissing(ref.String(), spelling.Suggest(ref.Name, names)).Err(err)
}

// wrong reports whether an earlier link breaks the chain.
func (x *examination) wrong(names ...LinkName) bool {
	for _, name := range names {
		if l := x.report.Link(name); l != nil && l.State == Wrong {
			return true
		}
	}
	return false
}

// notReached says which link has to work first.
func notReached(l *Link, first LinkName) {
	l.State = NotReached
	l.see("after the %s", first)
}

// reconcile lets an exchange that worked overrule what was seen from here: a private
// network may hide an issuer that Entra reaches.
func (x *examination) reconcile() {
	issuer, exchange := x.report.Link(LinkIssuer), x.report.Link(LinkExchange)
	if issuer.State == Wrong && (exchange.State == OK || issuer.has(finding.CodeIssuerUnreachable) && !exchange.has(finding.CodeExchangeRefused)) {
		for _, f := range issuer.Findings {
			issuer.see("%s", f.Text())
		}
		if exchange.State == OK {
			issuer.see("Entra reads them nevertheless")
		}
		issuer.State, issuer.Findings = Unknown, nil
	}
}

// denied reports whether an error is a lack of rights.
func denied(err error) bool {
	return kube.IsForbidden(err) || azure.Forbidden(err) || errors.Is(err, finding.CodePodsNotCreatable)
}

// oneLine is the error without what would break the layout of a report.
func oneLine(err error) string {
	text := azure.Brief(err)
	advice, ok := kube.Explain(err)
	switch {
	case ok && kube.IsForbidden(err):
		text = "not permitted: " + advice.Text() // the API server's own text says the same, longer
	case ok:
		text += "; " + advice.Text()
	}
	return strings.Join(strings.Fields(text), " ")
}
