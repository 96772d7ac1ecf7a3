package seed

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"azwi/contract"
	"azwi/emulator/internal/directory"
	"azwi/emulator/internal/issuer"
	"azwi/emulator/internal/replication"
	"azwi/internal/document"
)

// What an emulator without a seed holds, and the defaults of every seed. The
// secret is public: it opens nothing but this emulator.
const (
	TenantID       = "72f90000-0000-4000-8000-000000000001"
	TenantDomain   = "emulator.onmicrosoft.com"
	SubscriptionID = "72f90000-0000-4000-8000-000000000002"
	GroupName      = "emulator"
	Location       = "westeurope"
	OperatorID     = "72f90000-0000-4000-8000-000000000003"
	OperatorSecret = "emulator-operator-secret"
	VaultName      = "emulator"
)

// Default is the seed of an emulator that is given none: an operator who may do
// everything, and a vault with one secret.
const Default = `
servicePrincipals:
  - name: operator
    appId: ` + OperatorID + `
    secrets: [{value: ` + OperatorSecret + `}]
    directoryRoles: [Application Administrator]
    appRoles: [Application.ReadWrite.All]
roleAssignments:
  - {role: Owner, principal: operator}
  - {role: Key Vault Secrets Officer, principal: operator}
vaults:
  - name: ` + VaultName + `
    secrets: {greeting: hello from the emulated vault}
`

// A Seed is what a seed file says.
type Seed struct {
	State       *directory.State
	Issuers     map[string]issuer.Source
	Replication replication.Settings
}

// Read reads a seed file. name stands in errors; relative file names in the seed
// are relative to its folder. now is when the objects are created. Object IDs
// that the seed leaves out are derived from names, so they are the same at every
// start.
func Read(name string, text []byte, now time.Time) (*Seed, error) {
	var file File
	r := &reader{
		doc:  document.Read(name, text, &file),
		dir:  filepath.Dir(name),
		now:  now.UTC().Truncate(time.Second),
		seed: &Seed{State: directory.NewState(), Issuers: map[string]issuer.Source{}, Replication: replication.DefaultSettings()},
		ids:  map[string]string{},
	}
	if err := r.doc.Err(); err != nil {
		return nil, err
	}
	r.read(file)
	if err := r.doc.Err(); err != nil {
		return nil, err
	}
	return r.seed, nil
}

type reader struct {
	doc  *document.Document
	dir  string
	now  time.Time
	seed *Seed
	// ids are the object and client IDs in use, and who uses them.
	ids map[string]string
}

func (r *reader) read(f File) {
	r.tenants(f.Tenants)
	r.subscriptions(f.Subscriptions)
	for _, d := range directory.BuiltInRoles() {
		r.seed.State.RoleDefinitions[d.GUID] = d
	}
	for i, a := range f.Applications {
		r.application(at("applications", i), a)
	}
	for i, p := range f.ServicePrincipals {
		r.servicePrincipal(at("servicePrincipals", i), p)
	}
	for i, a := range f.Applications {
		r.presence(at("applications", i), a)
	}
	for i, m := range f.ManagedIdentities {
		r.managedIdentity(at("managedIdentities", i), m)
	}
	for i, d := range f.RoleDefinitions {
		r.roleDefinition(at("roleDefinitions", i), d)
	}
	for i, v := range f.Vaults {
		r.vault(at("vaults", i), v)
	}
	for i, a := range f.RoleAssignments {
		r.roleAssignment(at("roleAssignments", i), a)
	}
	for i, a := range f.Applications {
		r.owners(at("applications", i), a)
	}
	for iss, source := range f.Issuers {
		r.issuer("issuers."+iss, iss, source)
	}
	r.replication(f.Replication)
}

func at(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

// guid checks a GUID, or derives one from what it is for.
func (r *reader) guid(field, value string, from ...string) string {
	if value == "" {
		return uuid.NewSHA1(uuid.NameSpaceURL, []byte("azwi-emulator:"+strings.ToLower(strings.Join(from, "/")))).String()
	}
	id, err := uuid.Parse(value)
	if err != nil || len(value) != 36 {
		r.doc.Fail(field, "%q is not a GUID", value)
		return value
	}
	return id.String()
}

// claim makes sure that an ID is used once.
func (r *reader) claim(field, id string) {
	if other, ok := r.ids[id]; ok {
		r.doc.Fail(field, "%s is used by %s already", id, other)
		return
	}
	r.ids[id] = field
}

func (r *reader) name(field, value string) {
	if value == "" || len(value) > 256 || strings.ContainsAny(value, "/?#\x00\r\n") {
		r.doc.Fail(field, "want a name of 1 to 256 characters without slashes")
	}
}

func (r *reader) tenants(list []Tenant) {
	if len(list) == 0 {
		list = []Tenant{{ID: TenantID, Domain: TenantDomain, Name: "Emulator"}}
	}
	for i, t := range list {
		field := at("tenants", i)
		if t.ID == "" {
			r.doc.Fail(field+".id", "is missing")
			continue
		}
		id := r.guid(field+".id", t.ID)
		r.claim(field+".id", id)
		r.seed.State.PutTenant(&directory.Tenant{ID: id, Domain: t.Domain, Name: cmp.Or(t.Name, t.Domain, id), Resources: t.Resources})
	}
}

// tenant finds a tenant by ID or domain; empty is the first one.
func (r *reader) tenant(field, ref string) string {
	if ref == "" {
		return r.seed.State.DefaultTenant
	}
	t, ok := r.seed.State.Tenant(ref)
	if !ok {
		r.doc.Fail(field+".tenant", "there is no tenant %q", ref)
		return ""
	}
	return t.ID
}

func (r *reader) subscriptions(list []Subscription) {
	if len(list) == 0 {
		list = []Subscription{{ID: SubscriptionID, Name: "Emulator"}}
	}
	for i, s := range list {
		field := at("subscriptions", i)
		if s.ID == "" {
			r.doc.Fail(field+".id", "is missing")
			continue
		}
		id := r.guid(field+".id", s.ID)
		r.claim(field+".id", id)
		if i == 0 {
			r.ids[""] = id // the default
		}
		r.seed.State.Subscriptions[id] = &directory.Subscription{ID: id, Name: cmp.Or(s.Name, id), TenantID: r.tenant(field, s.Tenant)}
		if len(s.ResourceGroups) == 0 {
			s.ResourceGroups = []ResourceGroup{{Name: GroupName}}
		}
		for j, g := range s.ResourceGroups {
			r.name(fmt.Sprintf("%s.resourceGroups[%d].name", field, j), g.Name)
			r.group(id, g.Name, g.Location)
		}
	}
}

func (r *reader) group(subscription, name, location string) *directory.ResourceGroup {
	g := &directory.ResourceGroup{SubscriptionID: subscription, Name: name, Location: cmp.Or(location, Location)}
	if old, ok := r.seed.State.Groups[directory.Key(g.ID())]; ok {
		return old
	}
	r.seed.State.Groups[directory.Key(g.ID())] = g
	return g
}

// place finds the subscription and resource group of a resource, and makes the
// group if it is new.
func (r *reader) place(field, subscription, group, location string) (*directory.Subscription, *directory.ResourceGroup) {
	ref := cmp.Or(subscription, r.ids[""])
	s, ok := r.seed.State.Subscriptions[directory.Key(ref)]
	for _, other := range r.seed.State.Subscriptions {
		if !ok && strings.EqualFold(other.Name, ref) {
			s, ok = other, true
		}
	}
	if !ok {
		r.doc.Fail(field+".subscription", "there is no subscription %q", ref)
		return &directory.Subscription{}, &directory.ResourceGroup{}
	}
	if group == "" {
		for _, g := range directory.Sorted(r.seed.State.Groups) {
			if g.SubscriptionID == s.ID {
				return s, g
			}
		}
	}
	r.name(field+".resourceGroup", group)
	return s, r.group(s.ID, group, location)
}

func (r *reader) secrets(field string, list []Secret) []directory.Secret {
	var out []directory.Secret
	for i, s := range list {
		if s.Value == "" {
			r.doc.Fail(fmt.Sprintf("%s.secrets[%d].value", field, i), "is missing")
		}
		out = append(out, directory.NewSecret("seed", s.Value, r.now, s.Expires))
	}
	return out
}

func (r *reader) certificates(field string, list []Certificate) []directory.Certificate {
	var out []directory.Certificate
	for i, c := range list {
		where := fmt.Sprintf("%s.certificates[%d]", field, i)
		text := []byte(c.PEM)
		if (c.PEM == "") == (c.File == "") {
			r.doc.Fail(where, "want either pem or file")
			continue
		}
		if c.File != "" {
			var err error
			if text, err = os.ReadFile(r.path(c.File)); err != nil {
				r.doc.Fail(where+".file", "%v", err)
				continue
			}
		}
		der, err := certificate(text)
		if err != nil {
			r.doc.Fail(where, "%v", err)
			continue
		}
		out = append(out, directory.Certificate{KeyID: uuid.NewString(), Name: "seed", DER: der})
	}
	return out
}

// certificate finds the first certificate in a PEM file, which may hold its key
// too.
func certificate(text []byte) ([]byte, error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return nil, fmt.Errorf("there is no certificate in PEM")
		}
		if block.Type == "CERTIFICATE" {
			_, err := x509.ParseCertificate(block.Bytes)
			return block.Bytes, err
		}
	}
}

func (r *reader) path(file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(r.dir, file)
}

func (r *reader) credentials(field string, list []Credential, application bool) []directory.Credential {
	var out []directory.Credential
	for i, c := range list {
		where := fmt.Sprintf("%s.federatedCredentials[%d]", field, i)
		credential := directory.Credential{
			ID: uuid.NewString(), Name: c.Name, Issuer: c.Issuer, Subject: c.Subject,
			Audience: cmp.Or(c.Audience, contract.DefaultAudience), Description: c.Description, Expression: c.ClaimsMatchingExpression,
		}
		if err := credential.Check(application); err != nil {
			r.doc.Fail(where, "%v", err)
			continue
		}
		with, before, err := directory.WithCredential(out, credential)
		if err == nil && before != nil {
			err = fmt.Errorf("name %q is used twice", c.Name)
		}
		if err != nil {
			r.doc.Fail(where, "%v", err)
			continue
		}
		out = with
	}
	return out
}

func (r *reader) application(field string, a Application) {
	r.name(field+".name", a.Name)
	tenant := r.tenant(field, a.Tenant)
	app := &directory.Application{
		AppID:    r.guid(field+".appId", a.AppID, tenant, "app", a.Name),
		ObjectID: r.guid(field+".objectId", a.ObjectID, tenant, "application", a.Name),
		TenantID: tenant, Name: a.Name, Audience: cmp.Or(a.SignInAudience, "AzureADMyOrg"), IdentifierURIs: a.IdentifierURIs,
		TokenVersion: a.RequestedAccessTokenVersion,
		Secrets:      r.secrets(field, a.Secrets), Certificates: r.certificates(field, a.Certificates),
		Credentials: r.credentials(field, a.FederatedCredentials, true), Created: r.now,
	}
	r.claim(field+".appId", app.AppID)
	r.claim(field+".objectId", app.ObjectID)
	if !slices.Contains([]int{0, 1, 2}, a.RequestedAccessTokenVersion) {
		r.doc.Fail(field+".requestedAccessTokenVersion", "is not 1 or 2")
	}
	r.seed.State.PutApplication(app)
}

// presence gives an application its service principal.
func (r *reader) presence(field string, a Application) {
	if a.ServicePrincipal != nil && !*a.ServicePrincipal {
		return
	}
	tenant := r.tenant(field, a.Tenant)
	appID := r.guid(field+".appId", a.AppID, tenant, "app", a.Name)
	if _, ok := r.seed.State.PrincipalByAppID(tenant, appID); ok {
		return
	}
	r.seed.State.PutPrincipal(&directory.Principal{
		ObjectID: r.guid("", "", tenant, "principal", a.Name), AppID: appID, TenantID: tenant, Name: a.Name, Created: r.now,
	})
}

func (r *reader) servicePrincipal(field string, p ServicePrincipal) {
	r.name(field+".name", p.Name)
	tenant := r.tenant(field, p.Tenant)
	principal := &directory.Principal{
		AppID:    r.guid(field+".appId", p.AppID, tenant, "app", p.Name),
		ObjectID: r.guid(field+".objectId", p.ObjectID, tenant, "principal", p.Name),
		TenantID: tenant, Name: p.Name, Created: r.now,
		Secrets: r.secrets(field, p.Secrets), Certificates: r.certificates(field, p.Certificates),
		AppRoles: p.AppRoles,
	}
	r.claim(field+".objectId", principal.ObjectID)
	for i, role := range p.DirectoryRoles {
		template, ok := directory.FindEntraRole(role)
		if !ok {
			r.doc.Fail(fmt.Sprintf("%s.directoryRoles[%d]", field, i), "unknown directory role %q", role)
		}
		principal.DirectoryRoles = append(principal.DirectoryRoles, template.TemplateID)
	}
	if _, ok := r.seed.State.PrincipalByAppID(tenant, principal.AppID); ok {
		r.doc.Fail(field+".appId", "has a service principal in this tenant already")
		return
	}
	r.seed.State.PutPrincipal(principal)
	if _, ok := r.seed.State.ApplicationByAppID(principal.AppID); !ok {
		r.claim(field+".appId", principal.AppID)
		r.seed.State.PutApplication(&directory.Application{
			AppID: principal.AppID, ObjectID: r.guid("", "", tenant, "application", p.Name), TenantID: tenant,
			Name: p.Name, Audience: "AzureADMyOrg", Created: r.now,
		})
	}
}

func (r *reader) managedIdentity(field string, m ManagedIdentity) {
	r.name(field+".name", m.Name)
	s, g := r.place(field, m.Subscription, m.ResourceGroup, m.Location)
	identity := &directory.Identity{
		SubscriptionID: s.ID, ResourceGroup: g.Name, Name: m.Name, Location: cmp.Or(m.Location, g.Location), Tags: m.Tags,
		TenantID: s.TenantID, IMDS: m.IMDS, Credentials: r.credentials(field, m.FederatedCredentials, false),
		ClientID:    r.guid(field+".clientId", m.ClientID, s.ID, g.Name, "client", m.Name),
		PrincipalID: r.guid(field+".principalId", m.PrincipalID, s.ID, g.Name, "principal", m.Name),
	}
	r.claim(field+".clientId", identity.ClientID)
	r.claim(field+".principalId", identity.PrincipalID)
	r.seed.State.PutIdentity(identity, identity.Principal(r.now))
}

func (r *reader) roleDefinition(field string, d RoleDefinition) {
	r.name(field+".name", d.Name)
	guid := r.guid(field+".id", d.ID, "role", d.Name)
	if _, ok := r.seed.State.Role(d.Name); ok {
		r.doc.Fail(field+".name", "there is a role %q already", d.Name)
	}
	r.seed.State.RoleDefinitions[guid] = &directory.RoleDefinition{
		GUID: guid, Name: d.Name, Description: d.Description, Scopes: []string{"/subscriptions/" + r.ids[""]},
		Actions: d.Actions, NotActions: d.NotActions, DataActions: d.DataActions, NotDataActions: d.NotDataActions,
	}
}

func (r *reader) roleAssignment(field string, a RoleAssignment) {
	role, ok := r.seed.State.Role(a.Role)
	if !ok {
		r.doc.Fail(field+".role", "there is no role %q", a.Role)
		return
	}
	principal := r.principal(field+".principal", a.Principal)
	if principal == nil {
		return
	}
	scope := cmp.Or(a.Scope, "/subscriptions/"+r.ids[""])
	if !strings.HasPrefix(scope, "/") {
		r.doc.Fail(field+".scope", "want a resource ID such as /subscriptions/GUID/resourceGroups/NAME")
		return
	}
	assignment := &directory.RoleAssignment{
		GUID: r.guid("", "", "assignment", role.GUID, principal.ObjectID, scope), Scope: strings.TrimSuffix(scope, "/"),
		Role: role.GUID, PrincipalID: principal.ObjectID, PrincipalType: "ServicePrincipal", Created: r.now,
	}
	r.seed.State.PutAssignment(assignment)
}

// principal finds a service principal by object ID, app ID or name.
func (r *reader) principal(field, ref string) *directory.Principal {
	var found []*directory.Principal
	for _, p := range directory.Sorted(r.seed.State.Principals) {
		if p.ObjectID == directory.Key(ref) || p.AppID == directory.Key(ref) || p.Name == ref {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 1:
		return found[0]
	case 0:
		r.doc.Fail(field, "there is no service principal or managed identity %q", ref)
	default:
		r.doc.Fail(field, "%q names %d principals: use an ID", ref, len(found))
	}
	return nil
}

func (r *reader) owners(field string, a Application) {
	var ids []string
	for i, ref := range a.Owners {
		if p := r.principal(fmt.Sprintf("%s.owners[%d]", field, i), ref); p != nil {
			ids = append(ids, p.ObjectID)
		}
	}
	if len(ids) == 0 {
		return
	}
	appID := r.guid(field+".appId", a.AppID, r.tenant(field, a.Tenant), "app", a.Name)
	if app, ok := r.seed.State.ApplicationByAppID(appID); ok {
		owned := *app
		owned.Owners = ids
		r.seed.State.PutApplication(&owned)
	}
}

// vaultName is what Azure allows.
func vaultName() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]{1,22}[a-zA-Z0-9]$`) }

func (r *reader) vault(field string, v Vault) {
	if !vaultName().MatchString(v.Name) {
		r.doc.Fail(field+".name", "want 3 to 24 letters, digits and hyphens")
	}
	if _, ok := r.seed.State.Vaults[directory.Key(v.Name)]; ok {
		r.doc.Fail(field+".name", "there is a vault %q already", v.Name)
	}
	s, g := r.place(field, v.Subscription, v.ResourceGroup, v.Location)
	vault := &directory.Vault{
		Name: v.Name, TenantID: s.TenantID, SubscriptionID: s.ID, ResourceGroup: g.Name, Location: cmp.Or(v.Location, g.Location),
		Secrets: map[string][]directory.SecretVersion{},
	}
	for name, value := range v.Secrets {
		if !directory.ValidSecretName(name) {
			r.doc.Fail(field+".secrets."+name, "want 1 to 127 letters, digits and hyphens")
		}
		version := strings.ReplaceAll(r.guid("", "", "secret", v.Name, name), "-", "")
		vault.Secrets[name] = []directory.SecretVersion{{Version: version, Value: value, Created: r.now}}
	}
	r.seed.State.PutVault(vault)
}

func (r *reader) issuer(field, iss string, s Issuer) {
	if u, err := url.Parse(iss); err != nil || u.Host == "" {
		r.doc.Fail(field, "the issuer is not a URL")
	}
	switch {
	case (s.URL == "") == (s.File == ""):
		r.doc.Fail(field, "want either url or file")
	case s.URL != "":
		if u, err := url.Parse(s.URL); err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
			r.doc.Fail(field+".url", "want the URL of a JWKS")
		}
	}
	source := issuer.Source{URL: s.URL}
	if s.CAFile != "" {
		source.CAFile = r.path(s.CAFile)
	}
	if s.File != "" {
		source.File = r.path(s.File)
	}
	r.seed.Issuers[iss] = source
}

func (r *reader) replication(s Replication) {
	settings := &r.seed.Replication
	set(&settings.Replicas, s.Replicas)
	set(&settings.MinDelay, s.MinDelay)
	set(&settings.MaxDelay, s.MaxDelay)
	set(&settings.MissMemory, s.MissMemory)
	set(&settings.WriteTime, s.WriteTime)
	if s.MaxDelay != nil && s.MinDelay == nil {
		settings.MinDelay = min(settings.MinDelay, settings.MaxDelay)
	}
	if err := settings.Check(); err != nil {
		r.doc.Fail("replication", "%v", err)
	}
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}
