package lint

import (
	"net/url"
	"strings"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/pod/manifest"
)

// federation looks at federated identity credentials that are written as manifests:
// Azure Service Operator's, Crossplane's, and azwi's own file of federations.
func (l *linter) federation(o manifest.Object) {
	switch {
	case o.Kind == "FederatedIdentityCredential":
		l.named(o, o.Value.Get("metadata"))
		for _, at := range [][]string{{"spec"}, {"spec", "forProvider"}} {
			l.issuer(o, o.Value.Get(append(at, "issuer")...))
			l.subject(o, o.Value.Get(append(at, "subject")...))
		}
	case o.Kind == "Federation" && strings.HasPrefix(o.APIVersion, "azwi/"):
		for _, c := range o.Value.Get("clusters").Items() {
			l.issuer(o, c.Get("issuer"))
		}
	}
}

// aksIssuers is the end of the hosts of AKS' issuers, whose tokens have a slash at
// the end of their issuer. Entra compares byte by byte.
// https://learn.microsoft.com/azure/aks/use-oidc-issuer
const aksIssuers = ".oic.prod-aks.azure.com"

func (l *linter) issuer(o manifest.Object, v manifest.Value) {
	text, ok := v.Text()
	if !ok || l.toFillIn(o, v) {
		return
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "":
		l.find(finding.IssuerNotHTTPS(text), o, v.Position())
		return
	case strings.HasSuffix(strings.ToLower(u.Host), aksIssuers) && !strings.HasSuffix(text, "/"):
		l.find(finding.IssuerWithoutSlash(text), o, v.Position())
	}
	spelling := strings.ToLower(strings.TrimSuffix(text, "/"))
	if _, ok := l.issuers[spelling]; !ok {
		l.issuers[spelling] = v
	}
	if before := l.issuers[spelling]; before.JSON() != v.JSON() {
		l.find(finding.IssuerTwice(text, before.Source(), before.Position().String()), o, v.Position())
	}
}

func (l *linter) subject(o manifest.Object, v manifest.Value) {
	text, ok := v.Text()
	if !ok || l.toFillIn(o, v) {
		return
	}
	rest, found := strings.CutPrefix(text, contract.SubjectPrefix)
	namespace, name, both := strings.Cut(rest, ":")
	looksMeant := strings.HasPrefix(strings.ToLower(text), "system:")
	if looksMeant && (!found || !both || namespace == "" || name == "" || strings.ContainsAny(name, ": /") || strings.ToLower(text) != text) {
		l.find(finding.NotAccountSubject(text), o, v.Position())
	}
}
