package federation

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"azwi/internal/azure/arm"
	"azwi/internal/document"
	"azwi/internal/guid"
	"azwi/internal/httpsurl"
	"azwi/internal/spelling"
)

// The only format of a federation file.
const (
	APIVersion = "azwi/v1"
	Kind       = "Federation"
)

// A File is a federation file: which service accounts of which clusters may use which identities.
type File struct {
	// APIVersion is azwi/v1.
	APIVersion string `json:"apiVersion"`
	// Kind is Federation.
	Kind string `json:"kind"`
	// Name tells this file from others that write to the same application; it stands in the descriptions of credentials.
	Name string `json:"name,omitempty"`
	// Prune has apply remove credentials that azwi made for these clusters and that the file does not want. Default: they stay.
	Prune bool `json:"prune,omitempty"`
	// Clusters are those whose service accounts are federated.
	Clusters []Cluster `json:"clusters"`
	// Identities are those that service accounts may use. Two entries may name the same one.
	Identities []Entry `json:"identities"`
}

// A Cluster is known to Azure by its issuer.
type Cluster struct {
	// Name of the cluster in this file.
	Name string `json:"name"`
	// Issuer of its service account tokens, byte for byte, with or without a slash at its end.
	Issuer string `json:"issuer"`
	// Context of the kubeconfig, to wait until tokens work. Absent is the current one, if its issuer is this one.
	Context string `json:"context,omitempty"`
}

// An Entry lets each of its service accounts, on each of its clusters, use one identity.
type Entry struct {
	// Name of the entry in plans.
	Name string `json:"name"`
	// ManagedIdentity is a resource ID. It stands instead of application.
	ManagedIdentity string `json:"managedIdentity,omitempty"`
	// Application is an app registration. It stands instead of managedIdentity.
	Application *Application `json:"application,omitempty"`
	// Audience of the tokens. Default: api://AzureADTokenExchange, in every cloud.
	Audience string `json:"audience,omitempty"`
	// Clusters by name. Absent is all.
	Clusters []string `json:"clusters,omitempty"`
	// ServiceAccounts as namespace/name.
	ServiceAccounts []string `json:"serviceAccounts"`
}

// An Application is found by one of these.
type Application struct {
	// Name is the display name, which no other application may have.
	Name string `json:"name,omitempty"`
	// ClientID is the application's client ID (appId).
	ClientID string `json:"clientID,omitempty"`
	// ObjectID is the application's object ID.
	ObjectID string `json:"objectID,omitempty"`
}

func (a Application) String() string { return cmp.Or(a.Name, a.ClientID, a.ObjectID) }

// MaxField bounds issuer, subject and audience in characters.
// Source: https://learn.microsoft.com/entra/workload-id/workload-identity-federation-considerations
const MaxField = 600

// MaxFile bounds a federation file in bytes.
const MaxFile = 16 << 20

// Read reads and checks a federation file; name stands in errors. All mistakes
// are reported together, with their lines.
func Read(name string, text []byte) (*File, error) {
	if len(text) > MaxFile {
		return nil, fmt.Errorf("%s: the file has more than %d bytes", name, MaxFile)
	}
	f := new(File)
	d := document.Read(name, text, f)
	if err := d.Err(); err != nil {
		return nil, err
	}
	f.check(d.Fail)
	if d.Err() == nil {
		f.checkPairs(d.Fail)
	}
	if err := d.Err(); err != nil {
		return nil, err
	}
	return f, nil
}

// fail reports a mistake in a field such as clusters[0].name.
type fail func(field, format string, args ...any)

func (f *File) check(fail fail) {
	if f.APIVersion != APIVersion {
		fail("apiVersion", "want %s", APIVersion)
	}
	if f.Kind != Kind {
		fail("kind", "want %s", Kind)
	}
	if f.Name != "" && !validName(f.Name) {
		fail("name", "want at most 63 letters, digits, dots, hyphens and underscores")
	}
	names, issuers := map[string]bool{}, map[string]string{}
	for i, c := range f.Clusters {
		at := fmt.Sprintf("clusters[%d]", i)
		switch {
		case !validName(c.Name):
			fail(at+".name", "want at most 63 letters, digits, dots, hyphens and underscores")
		case names[c.Name]:
			fail(at+".name", "there is another cluster named %s", c.Name)
		}
		names[c.Name] = true
		if problem := IssuerProblem(c.Issuer); problem != "" {
			fail(at+".issuer", "%s", problem)
		} else if other, ok := issuers[c.Issuer]; ok {
			fail(at+".issuer", "cluster %s has the same issuer", other)
		}
		issuers[c.Issuer] = c.Name
	}
	if len(f.Clusters) == 0 {
		fail("clusters", "name at least one cluster")
	}
	if len(f.Identities) == 0 {
		fail("identities", "name at least one identity")
	}
	entries := map[string]bool{}
	for i, e := range f.Identities {
		at := fmt.Sprintf("identities[%d]", i)
		switch {
		case !validName(e.Name):
			fail(at+".name", "want at most 63 letters, digits, dots, hyphens and underscores")
		case entries[e.Name]:
			fail(at+".name", "there is another identity named %s", e.Name)
		}
		entries[e.Name] = true
		e.check(at, names, fail)
	}
}

func (e Entry) check(at string, clusters map[string]bool, fail fail) {
	switch {
	case e.ManagedIdentity != "" && e.Application != nil:
		fail(at+".application", "name either managedIdentity or application")
	case e.ManagedIdentity != "":
		if _, err := arm.ParseIdentityID(e.ManagedIdentity); err != nil {
			fail(at+".managedIdentity", "%v", err)
		}
	case e.Application == nil:
		fail(at, "name a managedIdentity or an application")
	default:
		e.Application.check(at+".application", fail)
	}
	if !ValidAudience(e.Audience) {
		fail(at+".audience", "want at most %d characters, and no space around them", MaxField)
	}
	if e.Clusters != nil && len(e.Clusters) == 0 {
		fail(at+".clusters", "name at least one, or leave the field out for all clusters")
	}
	seen := map[string]bool{}
	for j, name := range e.Clusters {
		field := fmt.Sprintf("%s.clusters[%d]", at, j)
		switch {
		case !clusters[name]:
			fail(field, "cluster %q is not defined under clusters%s", name, spelling.Suggest(name, slices.Sorted(maps.Keys(clusters))))
		case seen[name]:
			fail(field, "%s is listed twice", name)
		}
		seen[name] = true
	}
	if len(e.ServiceAccounts) == 0 {
		fail(at+".serviceAccounts", "name at least one service account")
	}
	clear(seen)
	for j, text := range e.ServiceAccounts {
		field := fmt.Sprintf("%s.serviceAccounts[%d]", at, j)
		namespace, account, ok := strings.Cut(text, "/")
		switch {
		case strings.Contains(text, "*"):
			fail(field, "%q: federated credentials know no wildcards; name each service account", text)
		case !ok || !validNamespace(namespace) || !validAccount(account):
			fail(field, "%q is not a service account: write NAMESPACE/NAME", text)
		case seen[text]:
			fail(field, "%s is listed twice", text)
		}
		seen[text] = true
	}
}

func (a Application) check(at string, fail fail) {
	given := 0
	for _, value := range []string{a.Name, a.ClientID, a.ObjectID} {
		if value != "" {
			given++
		}
	}
	if given != 1 {
		fail(at, "give one of name, clientID and objectID")
	}
	for field, value := range map[string]string{"clientID": a.ClientID, "objectID": a.ObjectID} {
		if value != "" && !guid.Valid(value) {
			fail(at+"."+field, "%q is not a GUID", value)
		}
	}
}

// checkPairs finds what Azure would refuse: the same issuer and subject twice on
// one identity, and more credentials than an identity holds. Applications that are named
// in different ways are compared later.
func (f *File) checkPairs(fail fail) {
	first := map[[3]string]string{}
	needed := map[string]int{}
	clusters := f.clustersByName()
	for i, e := range f.Identities {
		at := fmt.Sprintf("identities[%d].serviceAccounts", i)
		identity := "application " + e.applicationKey()
		if e.ManagedIdentity != "" {
			identity = strings.ToLower(strings.TrimSuffix(e.ManagedIdentity, "/"))
		}
		// Counted before pairs are made of it, since there may be millions.
		on := len(f.Clusters)
		if e.Clusters != nil {
			on = len(e.Clusters)
		}
		before := needed[identity]
		needed[identity] += on * len(e.ServiceAccounts)
		if needed[identity] > MaxCredentials {
			if before <= MaxCredentials {
				fail(at, "identity %s needs %s: an identity holds at most %d; "+
					"spread the service accounts over several identities, or, on AKS, use an identity binding",
					e.Name, credentialCount(before, len(e.ServiceAccounts), on), MaxCredentials)
			}
			continue
		}
		for _, w := range f.wants(e, clusters) {
			key := [3]string{identity, w.cluster.Issuer, w.account}
			if other, ok := first[key]; ok && other != e.Name {
				fail(at, "identity %s gives %s on cluster %s the same identity already", other, w.account, w.cluster.Name)
			}
			first[key] = e.Name
		}
	}
}

// credentialCount is how many credentials an entry needs, and why.
func credentialCount(before, accounts, clusters int) string {
	text := fmt.Sprintf("%d federated credentials (%s on %s", before+accounts*clusters, count(accounts, "service account"), count(clusters, "cluster"))
	if before > 0 {
		text += fmt.Sprintf(", and %d for the same identity above", before)
	}
	return text + ")"
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func (e Entry) applicationKey() string {
	if e.Application == nil {
		return ""
	}
	return strings.ToLower(e.Application.ClientID + "|" + e.Application.ObjectID + "|" + e.Application.Name)
}

// A want is one service account of one cluster.
type want struct {
	cluster Cluster
	account string // namespace/name
}

func (f *File) clustersByName() map[string]Cluster {
	all := make(map[string]Cluster, len(f.Clusters))
	for _, c := range f.Clusters {
		all[c.Name] = c
	}
	return all
}

// wants are what an entry asks for, in an order of its own. clusters are those of
// clustersByName.
func (f *File) wants(e Entry, clusters map[string]Cluster) []want {
	on := f.Clusters
	if e.Clusters != nil {
		on = nil
		for _, name := range e.Clusters {
			on = append(on, clusters[name])
		}
	}
	var all []want
	for _, c := range on {
		for _, account := range e.ServiceAccounts {
			all = append(all, want{c, account})
		}
	}
	return all
}

// validName is without a regular expression, since large files have many names.
func validName(name string) bool {
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '.' && c != '_' && c != '-') {
			return false
		}
	}
	return name != "" && len(name) <= 63
}

// ValidAudience reports whether Azure takes the audience; an empty one stands for
// the default.
func ValidAudience(audience string) bool {
	return utf8.RuneCountInString(audience) <= MaxField && strings.TrimSpace(audience) == audience
}

// IssuerProblem says what is wrong with an issuer, or nothing.
func IssuerProblem(issuer string) string {
	_, err := httpsurl.Parse(issuer)
	switch {
	case issuer == "":
		return "the issuer is missing: kubectl get --raw /.well-known/openid-configuration shows it"
	case strings.TrimSpace(issuer) != issuer:
		return "Azure refuses an issuer with space around it"
	case utf8.RuneCountInString(issuer) > MaxField:
		return fmt.Sprintf("an issuer has at most %d characters", MaxField)
	case err != nil:
		return fmt.Sprintf("%q is not an issuer: use an https URL without query and fragment", issuer)
	}
	return ""
}
