package directory

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
)

// A State is everything the directory holds. Its maps are read and written only
// inside View and Update; keys are lower-case IDs.
type State struct {
	// DefaultTenant is used where a client names no tenant.
	DefaultTenant   string                     `json:"defaultTenant"`
	Tenants         map[string]*Tenant         `json:"tenants"`
	Subscriptions   map[string]*Subscription   `json:"subscriptions"`
	Groups          map[string]*ResourceGroup  `json:"resourceGroups"`
	Identities      map[string]*Identity       `json:"managedIdentities"`
	Applications    map[string]*Application    `json:"applications"`
	Principals      map[string]*Principal      `json:"servicePrincipals"`
	RoleDefinitions map[string]*RoleDefinition `json:"roleDefinitions"`
	RoleAssignments map[string]*RoleAssignment `json:"roleAssignments"`
	Vaults          map[string]*Vault          `json:"vaults"`

	appByAppID       map[string]string              // app ID -> object ID of the application
	principalByAppID map[string]string              // tenant ID/app ID -> object ID of the principal
	assignmentsOf    map[string]map[string]struct{} // principal ID -> keys of RoleAssignments
	vaultByID        map[string]string              // resource ID -> key of Vaults
}

// NewState returns an empty state.
func NewState() *State {
	s := &State{}
	s.init()
	return s
}

func (s *State) init() {
	ensure(&s.Tenants)
	ensure(&s.Subscriptions)
	ensure(&s.Groups)
	ensure(&s.Identities)
	ensure(&s.Applications)
	ensure(&s.Principals)
	ensure(&s.RoleDefinitions)
	ensure(&s.RoleAssignments)
	ensure(&s.Vaults)
	ensure(&s.appByAppID)
	ensure(&s.principalByAppID)
	ensure(&s.assignmentsOf)
	ensure(&s.vaultByID)
}

func ensure[K comparable, V any](m *map[K]V) {
	if *m == nil {
		*m = map[K]V{}
	}
}

// UnmarshalJSON reads a stored state and builds its indexes.
func (s *State) UnmarshalJSON(b []byte) error {
	type plain State
	if err := json.Unmarshal(b, (*plain)(s)); err != nil {
		return err
	}
	s.init()
	for _, a := range s.Applications {
		s.PutApplication(a)
	}
	for _, p := range s.Principals {
		s.PutPrincipal(p)
	}
	for _, a := range s.RoleAssignments {
		s.PutAssignment(a)
	}
	for _, v := range s.Vaults {
		s.PutVault(v)
	}
	return nil
}

// Key is how an ID is looked up: Azure's IDs ignore case.
func Key(id string) string { return strings.ToLower(strings.TrimSuffix(id, "/")) }

// Tenant finds a tenant by ID or domain name.
func (s *State) Tenant(name string) (*Tenant, bool) {
	if t, ok := s.Tenants[Key(name)]; ok {
		return t, true
	}
	for _, t := range s.Tenants {
		if t.Domain != "" && strings.EqualFold(t.Domain, name) {
			return t, true
		}
	}
	return nil, false
}

// PutTenant stores a tenant; the first one is the default.
func (s *State) PutTenant(t *Tenant) {
	s.Tenants[Key(t.ID)] = t
	if s.DefaultTenant == "" {
		s.DefaultTenant = t.ID
	}
}

// PutApplication stores an application.
func (s *State) PutApplication(a *Application) {
	s.Applications[Key(a.ObjectID)] = a
	s.appByAppID[Key(a.AppID)] = Key(a.ObjectID)
}

// ApplicationByAppID finds an application by its client ID.
func (s *State) ApplicationByAppID(appID string) (*Application, bool) {
	a, ok := s.Applications[s.appByAppID[Key(appID)]]
	return a, ok
}

// ApplicationByURI finds the application that has an identifier URI.
func (s *State) ApplicationByURI(uri string) *Application {
	for _, a := range s.Applications {
		for _, u := range a.IdentifierURIs {
			if strings.EqualFold(strings.TrimRight(u, "/"), strings.TrimRight(uri, "/")) {
				return a
			}
		}
	}
	return nil
}

// DeleteApplication removes an application and its service principals.
func (s *State) DeleteApplication(a *Application) {
	delete(s.Applications, Key(a.ObjectID))
	delete(s.appByAppID, Key(a.AppID))
	for _, t := range s.Tenants {
		if p, ok := s.PrincipalByAppID(t.ID, a.AppID); ok {
			s.DeletePrincipal(p)
		}
	}
}

// PutPrincipal stores a service principal.
func (s *State) PutPrincipal(p *Principal) {
	s.Principals[Key(p.ObjectID)] = p
	s.principalByAppID[Key(p.TenantID+"/"+p.AppID)] = Key(p.ObjectID)
}

// PrincipalByAppID finds the service principal of a client in a tenant.
func (s *State) PrincipalByAppID(tenantID, appID string) (*Principal, bool) {
	p, ok := s.Principals[s.principalByAppID[Key(tenantID+"/"+appID)]]
	return p, ok
}

// DeletePrincipal removes a service principal. Its role assignments stay, as in
// Azure, where they then name an unknown principal.
func (s *State) DeletePrincipal(p *Principal) {
	delete(s.Principals, Key(p.ObjectID))
	delete(s.principalByAppID, Key(p.TenantID+"/"+p.AppID))
}

// PutIdentity stores a managed identity and the service principal it has.
func (s *State) PutIdentity(i *Identity, p *Principal) {
	s.Identities[Key(i.ID())] = i
	if p != nil {
		s.PutPrincipal(p)
	}
}

// DeleteIdentity removes a managed identity and its service principal.
func (s *State) DeleteIdentity(i *Identity) {
	delete(s.Identities, Key(i.ID()))
	if p, ok := s.Principals[Key(i.PrincipalID)]; ok {
		s.DeletePrincipal(p)
	}
}

// PutAssignment stores a role assignment.
func (s *State) PutAssignment(a *RoleAssignment) {
	key := Key(a.ID())
	s.RoleAssignments[key] = a
	of := s.assignmentsOf[Key(a.PrincipalID)]
	if of == nil {
		of = map[string]struct{}{}
		s.assignmentsOf[Key(a.PrincipalID)] = of
	}
	of[key] = struct{}{}
}

// DeleteAssignment removes a role assignment.
func (s *State) DeleteAssignment(a *RoleAssignment) {
	delete(s.RoleAssignments, Key(a.ID()))
	delete(s.assignmentsOf[Key(a.PrincipalID)], Key(a.ID()))
}

// PutVault stores a vault.
func (s *State) PutVault(v *Vault) {
	s.Vaults[Key(v.Name)] = v
	s.vaultByID[Key(v.ID())] = Key(v.Name)
}

// DeleteVault removes a vault.
func (s *State) DeleteVault(v *Vault) {
	delete(s.Vaults, Key(v.Name))
	delete(s.vaultByID, Key(v.ID()))
}

// VaultByID finds a vault by its resource ID.
func (s *State) VaultByID(id string) (*Vault, bool) {
	v, ok := s.Vaults[s.vaultByID[Key(id)]]
	return v, ok
}

// Sorted lists a map's values by key, which is the order of pages.
func Sorted[V any](m map[string]V) []V {
	out := make([]V, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[k])
	}
	return out
}

// A Client is who asks for a token.
type Client struct {
	Principal *Principal
	// Application is nil for managed identities.
	Application *Application
	// Identity is nil for applications.
	Identity *Identity
}

// Client finds the client with this ID in a tenant. Of an application without a
// service principal there, Principal is nil.
func (s *State) Client(tenantID, appID string) (Client, bool) {
	var c Client
	c.Principal, _ = s.PrincipalByAppID(tenantID, appID)
	if a, ok := s.ApplicationByAppID(appID); ok && (a.TenantID == tenantID || c.Principal != nil) {
		c.Application = a
	}
	if c.Principal != nil && c.Principal.IdentityID != "" {
		c.Identity = s.Identities[Key(c.Principal.IdentityID)]
	}
	return c, c.Principal != nil || c.Application != nil
}

// Name is the display name.
func (c Client) Name() string {
	if c.Application != nil {
		return c.Application.Name
	}
	return c.Principal.Name
}

// AppID is the client ID.
func (c Client) AppID() string {
	if c.Application != nil {
		return c.Application.AppID
	}
	return c.Principal.AppID
}

// Credentials are the client's federated credentials.
func (c Client) Credentials() []Credential {
	switch {
	case c.Identity != nil:
		return c.Identity.Credentials
	case c.Application != nil:
		return c.Application.Credentials
	}
	return nil
}

// Secrets are those of the application and of its service principal.
func (c Client) Secrets() []Secret {
	var out []Secret
	if c.Application != nil {
		out = append(out, c.Application.Secrets...)
	}
	if c.Principal != nil {
		out = append(out, c.Principal.Secrets...)
	}
	return out
}

// Certificates are those of the application and of its service principal.
func (c Client) Certificates() []Certificate {
	var out []Certificate
	if c.Application != nil {
		out = append(out, c.Application.Certificates...)
	}
	if c.Principal != nil {
		out = append(out, c.Principal.Certificates...)
	}
	return out
}

// A Directory guards a state. It is safe for concurrent use.
type Directory struct {
	mu      sync.RWMutex
	state   *State
	changed func()
}

// New returns a directory over state, which it then owns. changed is called
// after every update, outside the lock; it may be nil.
func New(state *State, changed func()) *Directory {
	if changed == nil {
		changed = func() {}
	}
	return &Directory{state: state, changed: changed}
}

// View reads the state.
func (d *Directory) View(f func(*State)) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	f(d.state)
}

// Update changes the state. An f that returns an error must have changed
// nothing.
func (d *Directory) Update(f func(*State) error) error {
	d.mu.Lock()
	err := f(d.state)
	d.mu.Unlock()
	if err == nil {
		d.changed()
	}
	return err
}

// Replace puts another state in place.
func (d *Directory) Replace(state *State) {
	d.mu.Lock()
	d.state = state
	d.mu.Unlock()
	d.changed()
}

// MarshalJSON writes the whole state. Since objects are immutable, copies of the
// maps are enough to write it while others go on.
func (d *Directory) MarshalJSON() ([]byte, error) {
	d.mu.RLock()
	s := State{
		DefaultTenant: d.state.DefaultTenant, Tenants: maps.Clone(d.state.Tenants), Subscriptions: maps.Clone(d.state.Subscriptions),
		Groups: maps.Clone(d.state.Groups), Identities: maps.Clone(d.state.Identities), Applications: maps.Clone(d.state.Applications),
		Principals: maps.Clone(d.state.Principals), RoleDefinitions: maps.Clone(d.state.RoleDefinitions),
		RoleAssignments: maps.Clone(d.state.RoleAssignments), Vaults: maps.Clone(d.state.Vaults),
	}
	d.mu.RUnlock()
	return json.Marshal(&s)
}
