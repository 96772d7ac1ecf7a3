package arm

import (
	"cmp"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"azwi/emulator/internal/directory"
	"azwi/emulator/internal/wire"
)

const (
	identityType   = "Microsoft.ManagedIdentity/userAssignedIdentities"
	credentialType = identityType + "/federatedIdentityCredentials"
)

func (h *Handler) managedIdentity(r *request) (answer, error) {
	s := r.segments
	if r.subscription == nil || !strings.EqualFold(s[0], "userAssignedIdentities") || len(s) > 4 ||
		(len(s) >= 3 && !strings.EqualFold(s[2], "federatedIdentityCredentials")) || (r.group == "" && len(s) > 1) {
		return answer{}, fail(http.StatusNotFound, "InvalidResourceType", "The resource type could not be found in the namespace 'Microsoft.ManagedIdentity' for api version '%s'.", r.URL.Query().Get("api-version"))
	}
	if len(s) == 1 {
		return h.listIdentities(r)
	}
	path := directory.Identity{SubscriptionID: r.subscription.ID, ResourceGroup: r.group, Name: s[1]}.ID()
	var identity *directory.Identity
	h.Directory.View(func(st *directory.State) { identity = st.Identities[directory.Key(path)] })
	if len(s) == 2 {
		return h.oneIdentity(r, path, identity)
	}
	if len(s) == 3 && r.Method != http.MethodGet {
		return answer{}, notAllowed(r)
	}
	action := map[string]string{http.MethodGet: "read", http.MethodPut: "write", http.MethodDelete: "delete"}[r.Method]
	if action == "" {
		return answer{}, notAllowed(r)
	}
	if err := h.allow(r, credentialType+"/"+action, path); err != nil {
		return answer{}, err
	}
	if identity == nil {
		return answer{}, noResource(r, identityType+"/"+s[1])
	}
	switch {
	case len(s) == 3:
		return page(r, identity.Credentials, func(c directory.Credential) any { return credentialBody(identity, c) })
	case r.Method == http.MethodGet:
		for _, c := range identity.Credentials {
			if strings.EqualFold(c.Name, s[3]) {
				return ok(credentialBody(identity, c))
			}
		}
		return answer{}, fail(http.StatusNotFound, "NotFound", "The Federated Identity Credential '%s' was not found under the managed identity '%s'.", s[3], identity.Name)
	case r.Method == http.MethodDelete:
		return h.deleteCredential(r, identity, s[3])
	}
	return h.putCredential(r, identity, s[3])
}

func noResource(r *request, name string) error {
	return fail(http.StatusNotFound, "ResourceNotFound",
		"The Resource '%s' under resource group '%s' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix", name, r.group)
}

func (h *Handler) listIdentities(r *request) (answer, error) {
	if r.Method != http.MethodGet {
		return answer{}, notAllowed(r)
	}
	if err := h.allow(r, identityType+"/read", r.scope); err != nil {
		return answer{}, err
	}
	var list []*directory.Identity
	h.Directory.View(func(s *directory.State) {
		for _, i := range directory.Sorted(s.Identities) {
			if directory.Within(i.ID(), r.scope) {
				list = append(list, i)
			}
		}
	})
	return page(r, list, func(i *directory.Identity) any { return identityBody(i) })
}

func identityBody(i *directory.Identity) any {
	tags := i.Tags
	if tags == nil {
		tags = map[string]string{}
	}
	return map[string]any{
		"id": i.ID(), "name": i.Name, "type": identityType, "location": i.Location, "tags": tags,
		"properties": map[string]any{"tenantId": i.TenantID, "principalId": i.PrincipalID, "clientId": i.ClientID},
	}
}

func (h *Handler) oneIdentity(r *request, path string, identity *directory.Identity) (answer, error) {
	actions := map[string]string{http.MethodGet: "read", http.MethodPut: "write", http.MethodPatch: "write", http.MethodDelete: "delete"}
	action, known := actions[r.Method]
	if !known {
		return answer{}, notAllowed(r)
	}
	if err := h.allow(r, identityType+"/"+action, path); err != nil {
		return answer{}, err
	}
	switch {
	case r.Method == http.MethodDelete && identity == nil:
		return answer{status: http.StatusNoContent}, nil
	case r.Method == http.MethodDelete:
		err := h.Directory.Update(func(s *directory.State) error { s.DeleteIdentity(identity); return nil })
		return answer{status: http.StatusOK}, err
	case r.Method == http.MethodPut:
		return h.putIdentity(r, path)
	case identity == nil:
		return answer{}, noResource(r, identityType+"/"+r.segments[1])
	case r.Method == http.MethodPatch:
		return h.putIdentity(r, path)
	}
	return ok(identityBody(identity))
}

// putIdentity creates an identity, or changes the tags of one.
func (h *Handler) putIdentity(r *request, path string) (answer, error) {
	var body struct {
		Location string             `json:"location"`
		Tags     *map[string]string `json:"tags"`
	}
	if err := wire.ReadJSON(r.Request, &body); err != nil {
		return answer{}, err
	}
	name := r.segments[1]
	if r.Method == http.MethodPut && body.Location == "" {
		return answer{}, fail(http.StatusBadRequest, "LocationRequired", "The location property is required for this definition.")
	}
	if !validResourceName(name) {
		return answer{}, fail(http.StatusBadRequest, "InvalidParameter", "The resource name '%s' is invalid: 3 to 128 letters, digits, hyphens and underscores are allowed.", name)
	}
	stored := &directory.Identity{}
	created := false
	err := h.Directory.Update(func(s *directory.State) error {
		old, exists := s.Identities[directory.Key(path)]
		if !exists {
			created = true
			*stored = directory.Identity{
				SubscriptionID: r.subscription.ID, ResourceGroup: r.group, Name: name, TenantID: r.subscription.TenantID,
				Location: location(body.Location), ClientID: uuid.NewString(), PrincipalID: uuid.NewString(),
			}
		} else {
			*stored = *old
			if body.Location != "" && location(body.Location) != old.Location {
				return fail(http.StatusConflict, "InvalidResourceLocation",
					"The resource '%s' already exists in location '%s' in resource group '%s'. A resource with the same name cannot be created in location '%s'. Please select a new resource name.",
					name, old.Location, r.group, body.Location)
			}
		}
		if body.Tags != nil {
			stored.Tags = *body.Tags
		}
		if created {
			s.PutIdentity(stored, stored.Principal(h.Now().Truncate(time.Second)))
			h.Replicas.Created(stored.PrincipalID)
		} else {
			s.PutIdentity(stored, nil)
		}
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	if created {
		return answer{http.StatusCreated, identityBody(stored)}, nil
	}
	return ok(identityBody(stored))
}

// location writes a region as Azure does: "West Europe" is westeurope.
func location(s string) string { return strings.ToLower(strings.ReplaceAll(s, " ", "")) }

func validResourceName(name string) bool {
	if len(name) < 3 || len(name) > 128 {
		return false
	}
	for _, c := range []byte(name) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

type credentialProperties struct {
	Issuer    string   `json:"issuer"`
	Subject   string   `json:"subject,omitempty"`
	Audiences []string `json:"audiences"`
	// Expression is in the preview versions, yet no identity may have one.
	Expression any `json:"claimsMatchingExpression,omitempty"`
}

func credentialBody(i *directory.Identity, c directory.Credential) any {
	p := credentialProperties{Issuer: c.Issuer, Subject: c.Subject, Audiences: []string{c.Audience}}
	return map[string]any{
		"id": i.ID() + "/federatedIdentityCredentials/" + c.Name, "name": c.Name, "type": credentialType, "properties": p,
	}
}

// lock marks the identity's federated credentials as being written, for as long
// as a write takes. A second write meanwhile is refused, as in the cloud.
func (h *Handler) lock(r *request, identity *directory.Identity) (unlock func(), err error) {
	key := directory.Key(identity.ID())
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.writing[key] {
		return nil, fail(http.StatusConflict, "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity",
			"Too many Federated Identity Credentials are written concurrently for the managed identity '%s'. Concurrent Federated Identity Credentials writes under the same managed identity are not supported.", identity.ID())
	}
	if h.writing == nil {
		h.writing = map[string]bool{}
	}
	h.writing[key] = true
	return func() {
		select {
		case <-time.After(h.Replicas.Settings().WriteTime):
		case <-r.Context().Done():
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.writing, key)
	}, nil
}

func (h *Handler) putCredential(r *request, identity *directory.Identity, name string) (answer, error) {
	var body struct {
		Properties *credentialProperties `json:"properties"`
	}
	if err := wire.ReadJSON(r.Request, &body); err != nil {
		return answer{}, err
	}
	p := body.Properties
	if p == nil {
		return answer{}, fail(http.StatusBadRequest, "BadRequest", "Federated Identity Credential from HTTP body has empty properties")
	}
	if len(p.Audiences) != 1 {
		return answer{}, fail(http.StatusBadRequest, "BadRequest", "Federated identity credentials must have exactly one audience.")
	}
	c := directory.Credential{ID: uuid.NewString(), Name: name, Issuer: p.Issuer, Subject: p.Subject, Audience: p.Audiences[0]}
	if p.Expression != nil {
		return answer{}, credentialError(name, directory.ErrIdentityExpression)
	}
	if err := credentialError(name, c.Check(false)); err != nil {
		return answer{}, err
	}
	unlock, err := h.lock(r, identity)
	if err != nil {
		return answer{}, err
	}
	defer unlock()
	var before *directory.Credential
	err = h.Directory.Update(func(s *directory.State) error {
		current, exists := s.Identities[directory.Key(identity.ID())]
		if !exists {
			return noResource(r, identityType+"/"+identity.Name)
		}
		for _, old := range current.Credentials {
			if strings.EqualFold(old.Name, name) {
				c.Name, c.ID = old.Name, cmp.Or(old.ID, c.ID) // resource names ignore case
			}
		}
		with, old, err := directory.WithCredential(current.Credentials, c)
		if err := credentialError(name, err); err != nil {
			return err
		}
		changed := *current
		changed.Credentials, before = with, old
		s.PutIdentity(&changed, nil)
		if before == nil || *before != c {
			h.Replicas.Changed(identity.ClientID, before, &c)
		}
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	status := http.StatusCreated
	if before != nil {
		status = http.StatusOK
	}
	return answer{status, credentialBody(identity, c)}, nil
}

func (h *Handler) deleteCredential(r *request, identity *directory.Identity, name string) (answer, error) {
	unlock, err := h.lock(r, identity)
	if err != nil {
		return answer{}, err
	}
	defer unlock()
	var removed *directory.Credential
	err = h.Directory.Update(func(s *directory.State) error {
		current, exists := s.Identities[directory.Key(identity.ID())]
		if !exists {
			return nil
		}
		changed := *current
		for _, c := range current.Credentials {
			if strings.EqualFold(c.Name, name) {
				changed.Credentials, removed = directory.WithoutCredential(current.Credentials, c.Name)
			}
		}
		s.PutIdentity(&changed, nil)
		if removed != nil {
			h.Replicas.Changed(identity.ClientID, removed, nil)
		}
		return nil
	})
	if err != nil || removed == nil {
		return answer{status: http.StatusNoContent}, err
	}
	return answer{status: http.StatusOK}, nil
}

// credentialError is how Resource Manager says what is wrong with a credential.
// The code for too many of them is not public; this one is a guess.
func credentialError(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, directory.ErrCredentialName):
		return fail(http.StatusBadRequest, "BadRequest", "Federated Identity Credential name '%s' is invalid.", name)
	case errors.Is(err, directory.ErrExpression):
		return fail(http.StatusBadRequest, "InvalidFederatedIdentityCredentialValue", "Federated Identity Credential is invalid: %v.", err)
	case errors.Is(err, directory.ErrCredentialDuplicate):
		return fail(http.StatusBadRequest, "BadRequest", "Issuer and subject combination already exists for this Managed Identity.")
	case errors.Is(err, directory.ErrCredentialTooMany):
		return fail(http.StatusBadRequest, "BadRequest", "Too many Federated Identity Credentials: a managed identity has at most %d.", directory.MaxCredentials)
	}
	return fail(http.StatusBadRequest, "BadRequest", "Federated Identity Credential is invalid: %v.", err)
}
