package graph

import (
	"errors"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"azwi/emulator/internal/directory"
	"azwi/emulator/internal/wire"
)

// credentialBodyType ends messages about federated credentials.
const objectType = "Microsoft.DirectoryServices.Application"

type expression struct {
	Value           string `json:"value"`
	LanguageVersion int    `json:"languageVersion"`
}

// credentialChange is the body of POST and PATCH: absent fields stay.
type credentialChange struct {
	Name        *string     `json:"name"`
	Issuer      *string     `json:"issuer"`
	Subject     *string     `json:"subject"`
	Description *string     `json:"description"`
	Audiences   *[]string   `json:"audiences"`
	Expression  *expression `json:"claimsMatchingExpression"`
}

func (r *request) credentialBody(c directory.Credential) map[string]any {
	body := map[string]any{
		"id": c.ID, "name": c.Name, "issuer": c.Issuer, "subject": optional(c.Subject), "description": optional(c.Description), "audiences": []string{c.Audience},
	}
	if r.beta {
		body["claimsMatchingExpression"] = nil
		if c.Expression != "" {
			body["claimsMatchingExpression"] = expression{c.Expression, 1}
		}
	}
	return body
}

func (h *Handler) credentials(r *request, app *directory.Application, rest []segment) (answer, error) {
	id := rest[0].value
	if len(rest) == 2 {
		id = rest[1].name
	}
	if id == "" {
		switch r.Method {
		case http.MethodGet:
			return list(r, "applications('"+app.ObjectID+"')/federatedIdentityCredentials", app.Credentials, func(c directory.Credential, field string) ([]string, bool) {
				switch strings.ToLower(field) {
				case "name":
					return []string{c.Name}, true
				case "subject":
					return []string{c.Subject}, true
				case "issuer":
					return []string{c.Issuer}, true
				}
				return nil, false
			}, func(c directory.Credential) any { return r.credentialBody(c) })
		case http.MethodPost:
			return h.createCredential(r, app)
		}
		return answer{}, notAllowed(r)
	}
	var found *directory.Credential
	for _, c := range app.Credentials {
		if c.ID == id || c.Name == id {
			found = &c
		}
	}
	switch {
	case r.Method == http.MethodPatch && found == nil && strings.EqualFold(rest[0].key, "name") && r.Header.Get("Prefer") == "create-if-missing":
		return h.upsertCredential(r, app, id)
	case found == nil:
		return answer{}, notFound(id)
	case r.Method == http.MethodGet:
		return ok(r.entity("applications('"+app.ObjectID+"')/federatedIdentityCredentials", r.credentialBody(*found)))
	case r.Method == http.MethodPatch:
		return h.updateCredential(r, app, *found)
	case r.Method == http.MethodDelete:
		return h.deleteCredential(app, found.Name)
	}
	return answer{}, notAllowed(r)
}

var (
	errLanguage     = errors.New("languageVersion of claimsMatchingExpression must be 1")
	errNoExpression = errors.New("claimsMatchingExpression has no value")
)

// to applies the change to a credential.
func (c credentialChange) to(old directory.Credential, beta bool) (directory.Credential, error) {
	if c.Audiences != nil {
		if len(*c.Audiences) != 1 {
			return old, fail(http.StatusBadRequest, "InvalidFederatedIdentityCredentialValue", "Federated identity credentials must have exactly one audience.")
		}
		old.Audience = (*c.Audiences)[0]
	}
	assign(&old.Issuer, c.Issuer)
	assign(&old.Subject, c.Subject)
	assign(&old.Description, c.Description)
	if c.Expression != nil {
		if !beta {
			return old, badRequest("Invalid property 'claimsMatchingExpression'.")
		}
		switch {
		case c.Expression.LanguageVersion != 1:
			return old, credentialError(old, errLanguage)
		case c.Expression.Value == "":
			return old, credentialError(old, errNoExpression)
		}
		old.Expression = c.Expression.Value
	}
	return old, credentialError(old, old.Check(true))
}

// credentialError is how Graph says what is wrong with a credential. The code
// for too many of them is not public; this one is a guess.
func credentialError(c directory.Credential, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, directory.ErrCredentialDuplicate):
		return fail(http.StatusBadRequest, "InvalidFederatedIdentityCredentialValue",
			"The combination of issuer and subject must be unique for the application. Issuer %s and Subject: %s already exist. paramName: FederatedIdentityCredential.Subject, paramValue: %s, objectType: %s",
			c.Issuer, c.Subject, c.Subject, objectType)
	case errors.Is(err, directory.ErrCredentialTooMany):
		return fail(http.StatusBadRequest, "Directory_QuotaExceeded", "An application has at most %d federated identity credentials.", directory.MaxCredentials)
	}
	return fail(http.StatusBadRequest, "InvalidFederatedIdentityCredentialValue", "The federated identity credential has an invalid value: %v. objectType: %s", err, objectType)
}

func (h *Handler) createCredential(r *request, app *directory.Application) (answer, error) {
	var body credentialChange
	if err := wire.ReadJSON(r.Request, &body); err != nil {
		return answer{}, err
	}
	var name string
	assign(&name, body.Name)
	c, err := body.to(directory.Credential{ID: uuid.NewString(), Name: name}, r.beta)
	if err != nil {
		return answer{}, err
	}
	return h.addCredential(r, app, c)
}

// upsertCredential creates the credential that a PATCH with Prefer:
// create-if-missing did not find.
func (h *Handler) upsertCredential(r *request, app *directory.Application, name string) (answer, error) {
	var body credentialChange
	if err := wire.ReadJSON(r.Request, &body); err != nil {
		return answer{}, err
	}
	c, err := body.to(directory.Credential{ID: uuid.NewString(), Name: name}, r.beta)
	if err != nil {
		return answer{}, err
	}
	return h.addCredential(r, app, c)
}

func (h *Handler) addCredential(r *request, app *directory.Application, c directory.Credential) (answer, error) {
	err := h.change(app, func(a *directory.Application, _ *directory.State) error {
		with, before, err := directory.WithCredential(a.Credentials, c)
		switch {
		case err != nil:
			return credentialError(c, err)
		case before != nil:
			return fail(http.StatusConflict, "Request_MultipleObjectsWithSameKeyValue", "FederatedIdentityCredential with name %s already exists.", c.Name)
		}
		a.Credentials = with
		h.Replicas.Changed(app.AppID, nil, &c)
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	return answer{http.StatusCreated, r.entity("applications('"+app.ObjectID+"')/federatedIdentityCredentials", r.credentialBody(c))}, nil
}

func (h *Handler) updateCredential(r *request, app *directory.Application, old directory.Credential) (answer, error) {
	var body credentialChange
	if err := wire.ReadJSON(r.Request, &body); err != nil {
		return answer{}, err
	}
	if body.Name != nil && *body.Name != old.Name {
		return answer{}, badRequest("Property 'name' is read-only and cannot be set.")
	}
	changed, err := body.to(old, r.beta)
	if err != nil {
		return answer{}, err
	}
	err = h.change(app, func(a *directory.Application, _ *directory.State) error {
		with, before, err := directory.WithCredential(a.Credentials, changed)
		if err != nil {
			return credentialError(changed, err)
		}
		if before == nil {
			return notFound(old.ID)
		}
		a.Credentials = with
		if changed != old {
			h.Replicas.Changed(app.AppID, &old, &changed)
		}
		return nil
	})
	return noContent(err)
}

func (h *Handler) deleteCredential(app *directory.Application, name string) (answer, error) {
	return noContent(h.change(app, func(a *directory.Application, _ *directory.State) error {
		without, removed := directory.WithoutCredential(a.Credentials, name)
		if removed == nil {
			return notFound(name)
		}
		a.Credentials = without
		h.Replicas.Changed(app.AppID, removed, nil)
		return nil
	}))
}
