package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/install"
	"azwi/internal/jwt"
	"azwi/internal/kube"
	"azwi/internal/oidc"
	"azwi/internal/pod/workload"
)

// account looks at the service account's annotations.
func (x *examination) account(ctx context.Context, l *Link) {
	s := x.subject
	name := s.namespace + "/" + s.account
	switch {
	case kube.IsNotFound(s.accountErr):
		l.because(finding.AccountMissing(name))
		return
	case s.accountErr != nil:
		l.unknown(s.accountErr)
		return
	}
	annotations := s.accountObject.Metadata.Annotations
	clientID, tenantID := annotations[contract.ClientIDAnnotation], annotations[contract.TenantIDAnnotation]
	x.clientID = cmp.Or(clientID, x.clientID)
	x.tenantID = cmp.Or(x.tenantID, tenantID, x.TenantID)
	l.see("%s, client ID %s, tenant %s", name, cmp.Or(clientID, "none"), cmp.Or(tenantID, "the installation's"))
	for _, f := range s.lint {
		if f.Kind == "ServiceAccount" && f.Code() != finding.CodeLabelMissing {
			l.because(f.Finding)
		}
	}
	if x.clientID == "" && l.State != Wrong && !x.report.Link(LinkWorkload).has(finding.CodeMisplacedKey, finding.CodeNearMissKey) {
		l.because(finding.NoClientID(s.namespace, s.account, x.annotatedAccounts(ctx)))
		l.State = Wrong
	}
}

// annotatedAccounts are the service accounts that may have been meant: others of the
// namespace with a client ID, and those of the same name elsewhere.
func (x *examination) annotatedAccounts(ctx context.Context) []string {
	var names []string
	// Whoever may not list accounts gets no suggestion.
	_ = x.Cluster.List(ctx, kube.Ref{APIVersion: "v1", Kind: "ServiceAccount"}, "", func(raw json.RawMessage) error {
		var a accountObject
		if err := json.Unmarshal(raw, &a); err != nil {
			return err
		}
		m := a.Metadata
		if m.Annotations[contract.ClientIDAnnotation] != "" && (m.Namespace == x.subject.namespace || m.Name == x.subject.account) {
			names = append(names, m.Namespace+"/"+m.Name)
		}
		return nil
	})
	slices.Sort(names)
	return names
}

// A token is a service account's, decoded.
type token struct {
	raw, keyID                string
	issuer, subject, audience string
}

// requestToken requests the token that a pod's volume gets, bound to a running pod if there
// is one. Its audience is the installation's: one that the pod's author chose might make
// the token good for another service.
func (x *examination) requestToken(ctx context.Context, l *Link) {
	s := x.subject
	x.token.subject = contract.Subject(s.namespace, s.account)
	audience, err := install.Audience(ctx, x.Cluster)
	if err != nil {
		l.unknown(err)
		return
	}
	x.token.audience = audience
	if kube.IsNotFound(s.accountErr) {
		notReached(l, LinkAccount)
		return
	}
	// The token says it too, if there is one.
	x.token.issuer, _ = x.Cluster.Issuer(ctx)
	if x.Exchanger == nil {
		l.unknown(errSkipped("no token was requested"))
		return
	}
	request := kube.TokenRequest{Audience: audience, Lifetime: x.lifetime()}
	// A pod of an earlier template may run as another service account.
	i := slices.IndexFunc(s.pods, func(p workload.Running) bool { return cmp.Or(p.Spec.ServiceAccountName, "default") == s.account })
	if i >= 0 {
		request.PodName, request.PodUID = s.pods[i].Metadata.Name, s.pods[i].Metadata.UID
	}
	raw, expires, err := x.Cluster.Token(ctx, s.namespace, s.account, request)
	if kube.IsForbidden(err) {
		err = finding.ClusterForbidden("create", "serviceaccounts/token", s.namespace).Err(err)
	}
	if err != nil {
		l.unknown(err)
		return
	}
	claims, err := oidc.DecodeClaims(raw)
	if err != nil {
		l.unknown(err)
		return
	}
	x.token.raw = raw
	x.token.issuer, _ = claims["iss"].(string)
	x.token.subject, _ = claims["sub"].(string)
	x.token.keyID, _ = jwt.KeyID(raw)
	l.see("issuer %s, subject %s, audience %s, key %s, good for %s", x.token.issuer, x.token.subject, audience, x.token.keyID, expires.Sub(x.Now()).Round(time.Second))
}

// lifetime is the one that a new pod's volume asks for.
func (x *examination) lifetime() time.Duration {
	if x.expected != nil {
		if volume := x.expected.Spec.TokenVolume(); volume != nil {
			for _, source := range volume.Projected.Sources {
				if t := source.ServiceAccountToken; t != nil {
					return time.Duration(t.ExpirationSeconds) * time.Second
				}
			}
		}
	}
	return 0
}

// issuer fetches what Entra verifies the token with.
func (x *examination) issuer(ctx context.Context, l *Link) {
	if x.token.issuer == "" {
		notReached(l, LinkToken)
		return
	}
	published, err := oidc.ReadPublication(ctx, x.Issuers, x.token.issuer)
	if problem, ok := errors.AsType[*oidc.PublicationError](err); ok {
		switch problem.Problem {
		case oidc.NotHTTPS:
			l.because(finding.DocumentNotHTTPS(problem.URL))
		case oidc.Redirected:
			l.because(finding.IssuerRedirected(problem))
		case oidc.NotServed, oidc.NotDocument:
			l.because(finding.IssuerNotServed(problem))
		case oidc.Unreachable:
			l.because(finding.IssuerUnreachable(problem))
		}
		return
	}
	if published.Issuer != x.token.issuer {
		l.because(finding.IssuerNamesOther(published.Issuer, x.token.issuer))
		return
	}
	l.see("%s publishes keys at %s, RSA keys: %d, other keys: %d", published.Issuer, published.JWKSURI, len(published.KeyIDs), published.Others)
	if x.token.keyID != "" && !slices.Contains(published.KeyIDs, x.token.keyID) {
		l.because(finding.IssuerKeyMissing(x.token.keyID, published.KeyIDs))
	}
}
