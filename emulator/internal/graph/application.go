package graph

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"azwi/emulator/internal/directory"
	"azwi/emulator/internal/wire"
)

// secretLife is how long a new client secret lasts unless the request says.
const secretLife = 2 * 365 * 24 * time.Hour

func (h *Handler) applications(r *request) (answer, error) {
	if r.is("applications") && r.path[0].key == "" {
		switch r.Method {
		case http.MethodGet:
			return h.listApplications(r)
		case http.MethodPost:
			return h.createApplication(r)
		}
		return answer{}, notAllowed(r)
	}
	app, rest, err := h.application(r)
	if err != nil {
		return answer{}, err
	}
	if len(rest) == 0 {
		return h.oneApplication(r, app)
	}
	need := write
	if r.Method == http.MethodGet {
		need = read
	}
	if err := r.allow(need, app.Owners); err != nil {
		return answer{}, err
	}
	switch sub := strings.ToLower(rest[0].name); {
	case sub == "federatedidentitycredentials" && len(rest) <= 2:
		return h.credentials(r, app, rest)
	case sub == "owners":
		return h.owners(r, app, rest)
	case sub == "addpassword" && r.Method == http.MethodPost:
		return h.addPassword(r, app)
	case sub == "removepassword" && r.Method == http.MethodPost:
		return h.removePassword(r, app)
	}
	return answer{}, fail(http.StatusBadRequest, "BadRequest", "Resource not found for the segment '%s'.", rest[0].name)
}

// application finds the one that the path names: /applications/{object ID} or
// /applications(appId='..').
func (h *Handler) application(r *request) (app *directory.Application, rest []segment, err error) {
	id := ""
	h.Directory.View(func(s *directory.State) {
		switch first := r.path[0]; {
		case strings.EqualFold(first.key, "appId"):
			id, rest = first.value, r.path[1:]
			app, _ = s.ApplicationByAppID(id)
		case first.key != "":
			id, rest = first.value, r.path[1:]
			app = s.Applications[directory.Key(id)]
		default:
			id, rest = r.path[1].name, r.path[2:]
			app = s.Applications[directory.Key(id)]
		}
	})
	if app == nil || app.TenantID != r.caller.TenantID {
		if err := r.allow(read, nil); err != nil {
			return nil, nil, err
		}
		return nil, nil, notFound(id)
	}
	return app, rest, nil
}

func (h *Handler) listApplications(r *request) (answer, error) {
	if err := r.allow(read, nil); err != nil {
		return answer{}, err
	}
	var apps []*directory.Application
	h.Directory.View(func(s *directory.State) {
		for _, a := range directory.Sorted(s.Applications) {
			if a.TenantID == r.caller.TenantID {
				apps = append(apps, a)
			}
		}
	})
	return list(r, "applications", apps, func(a *directory.Application, field string) ([]string, bool) {
		switch strings.ToLower(field) {
		case "appid":
			return []string{a.AppID}, true
		case "id":
			return []string{a.ObjectID}, true
		case "displayname":
			return []string{a.Name}, true
		case "identifieruris":
			return a.IdentifierURIs, true
		case "tags":
			return a.Tags, true
		}
		return nil, false
	}, func(a *directory.Application) any { return applicationBody(a) })
}

func texts(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func optional(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func stamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC3339)
}

func passwordBody(s directory.Secret) map[string]any {
	return map[string]any{
		"keyId": s.KeyID, "displayName": optional(s.Name), "hint": s.Hint, "startDateTime": stamp(s.Start), "endDateTime": stamp(s.Expires),
		"secretText": nil, "customKeyIdentifier": nil,
	}
}

func passwords(list []directory.Secret) []any {
	out := []any{}
	for _, s := range list {
		out = append(out, passwordBody(s))
	}
	return out
}

func keys(list []directory.Certificate) []any {
	out := []any{}
	for _, c := range list {
		out = append(out, map[string]any{"keyId": c.KeyID, "displayName": optional(c.Name), "type": "AsymmetricX509Cert", "usage": "Verify", "key": nil})
	}
	return out
}

func applicationBody(a *directory.Application) map[string]any {
	var version any
	if a.TokenVersion != 0 {
		version = a.TokenVersion
	}
	return map[string]any{
		"id": a.ObjectID, "appId": a.AppID, "displayName": a.Name, "description": optional(a.Description), "notes": optional(a.Notes),
		"signInAudience": a.Audience, "identifierUris": texts(a.IdentifierURIs), "tags": texts(a.Tags), "createdDateTime": stamp(a.Created),
		"passwordCredentials": passwords(a.Secrets), "keyCredentials": keys(a.Certificates),
		"api":                    map[string]any{"requestedAccessTokenVersion": version, "oauth2PermissionScopes": []any{}, "knownClientApplications": []any{}, "preAuthorizedApplications": []any{}},
		"web":                    map[string]any{"redirectUris": []any{}, "homePageUrl": nil, "implicitGrantSettings": map[string]any{"enableIdTokenIssuance": false, "enableAccessTokenIssuance": false}},
		"publicClient":           map[string]any{"redirectUris": []any{}},
		"spa":                    map[string]any{"redirectUris": []any{}},
		"appRoles":               []any{},
		"requiredResourceAccess": []any{},
		"isFallbackPublicClient": nil,
	}
}

// applicationChange is the body of POST and PATCH: absent fields stay.
type applicationChange struct {
	DisplayName    *string   `json:"displayName"`
	Description    *string   `json:"description"`
	Notes          *string   `json:"notes"`
	SignInAudience *string   `json:"signInAudience"`
	IdentifierURIs *[]string `json:"identifierUris"`
	Tags           *[]string `json:"tags"`
	API            *struct {
		Version *int `json:"requestedAccessTokenVersion"`
	} `json:"api"`
	Keys *[]struct {
		KeyID       string `json:"keyId"`
		DisplayName string `json:"displayName"`
		Type        string `json:"type"`
		Key         []byte `json:"key"`
	} `json:"keyCredentials"`
}

// apply changes a copy of an application. It checks everything first.
func (c applicationChange) apply(a *directory.Application, s *directory.State) error {
	if c.DisplayName != nil && (*c.DisplayName == "" || len(*c.DisplayName) > 256) {
		return badRequest("Invalid value specified for property 'displayName' of resource 'Application'.")
	}
	if c.SignInAudience != nil && !slices.Contains([]string{"AzureADMyOrg", "AzureADMultipleOrgs", "AzureADandPersonalMicrosoftAccount", "PersonalMicrosoftAccount"}, *c.SignInAudience) {
		return badRequest("Invalid value specified for property 'signInAudience' of resource 'Application'.")
	}
	if c.IdentifierURIs != nil {
		for _, u := range *c.IdentifierURIs {
			if other := s.ApplicationByURI(u); other != nil && other.ObjectID != a.ObjectID {
				return fail(http.StatusBadRequest, "Request_MultipleObjectsWithSameKeyValue", "Another object with the same value for property identifierUris already exists.")
			}
		}
		a.IdentifierURIs = *c.IdentifierURIs
	}
	if c.Keys != nil {
		var certs []directory.Certificate
		for _, k := range *c.Keys {
			i := slices.IndexFunc(a.Certificates, func(old directory.Certificate) bool { return old.KeyID == k.KeyID && k.KeyID != "" })
			switch {
			case len(k.Key) == 0 && i >= 0:
				certs = append(certs, a.Certificates[i])
				continue
			case k.Type != "" && k.Type != "AsymmetricX509Cert":
				return badRequest("Key credential type %s is not supported by the emulator.", k.Type)
			}
			if _, err := x509.ParseCertificate(k.Key); err != nil {
				return fail(http.StatusBadRequest, "KeyCredentialsInvalidCertificate", "Key credential end date or certificate is invalid.")
			}
			certs = append(certs, directory.Certificate{KeyID: uuid.NewString(), Name: k.DisplayName, DER: k.Key})
		}
		a.Certificates = certs
	}
	assign(&a.Name, c.DisplayName)
	assign(&a.Description, c.Description)
	assign(&a.Notes, c.Notes)
	assign(&a.Audience, c.SignInAudience)
	assign(&a.Tags, c.Tags)
	if c.API != nil {
		assign(&a.TokenVersion, c.API.Version)
	}
	return nil
}

func assign[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

func (h *Handler) createApplication(r *request) (answer, error) {
	if err := r.allow(create, nil); err != nil {
		return answer{}, err
	}
	var body applicationChange
	if err := wire.ReadJSON(r.Request, &body); err != nil {
		return answer{}, err
	}
	if body.DisplayName == nil {
		return answer{}, badRequest("A value is required for property 'displayName' of resource 'Application'.")
	}
	app := &directory.Application{
		ObjectID: uuid.NewString(), AppID: uuid.NewString(), TenantID: r.caller.TenantID, Audience: "AzureADMyOrg",
		Owners: []string{r.caller.ObjectID}, Created: h.Now().Truncate(time.Second),
	}
	err := h.Directory.Update(func(s *directory.State) error {
		if err := body.apply(app, s); err != nil {
			return err
		}
		s.PutApplication(app)
		return nil
	})
	return answer{http.StatusCreated, r.entity("applications", applicationBody(app))}, err
}

func (h *Handler) oneApplication(r *request, app *directory.Application) (answer, error) {
	switch r.Method {
	case http.MethodGet:
		if err := r.allow(read, nil); err != nil {
			return answer{}, err
		}
		return ok(r.entity("applications", applicationBody(app)))
	case http.MethodPatch:
		if err := r.allow(write, app.Owners); err != nil {
			return answer{}, err
		}
		var body applicationChange
		if err := wire.ReadJSON(r.Request, &body); err != nil {
			return answer{}, err
		}
		return noContent(h.change(app, func(a *directory.Application, s *directory.State) error { return body.apply(a, s) }))
	case http.MethodDelete:
		if err := r.allow(write, app.Owners); err != nil {
			return answer{}, err
		}
		return noContent(h.Directory.Update(func(s *directory.State) error { s.DeleteApplication(app); return nil }))
	}
	return answer{}, notAllowed(r)
}

// change stores a changed copy of an application as it now is.
func (h *Handler) change(app *directory.Application, f func(*directory.Application, *directory.State) error) error {
	return h.Directory.Update(func(s *directory.State) error {
		current, exists := s.Applications[directory.Key(app.ObjectID)]
		if !exists {
			return notFound(app.ObjectID)
		}
		changed := *current
		if err := f(&changed, s); err != nil {
			return err
		}
		s.PutApplication(&changed)
		return nil
	})
}

// owners lists owners, or adds and removes one: owners/$ref, owners/{id}/$ref.
func (h *Handler) owners(r *request, app *directory.Application, rest []segment) (answer, error) {
	switch {
	case r.Method == http.MethodGet && len(rest) == 1:
		var owners []map[string]any
		h.Directory.View(func(s *directory.State) {
			for _, id := range app.Owners {
				if p, found := s.Principals[directory.Key(id)]; found {
					body := principalBody(p, s)
					body["@odata.type"] = "#microsoft.graph.servicePrincipal"
					owners = append(owners, body)
				}
			}
		})
		return list(r, "directoryObjects", owners, noFilter, func(m map[string]any) any { return m })
	case r.Method == http.MethodPost && len(rest) == 2 && rest[1].name == "$ref":
		var body struct {
			ID string `json:"@odata.id"`
		}
		if err := wire.ReadJSON(r.Request, &body); err != nil {
			return answer{}, err
		}
		id := body.ID[strings.LastIndex(body.ID, "/")+1:]
		return noContent(h.change(app, func(a *directory.Application, s *directory.State) error {
			if _, found := s.Principals[directory.Key(id)]; !found {
				return notFound(id)
			}
			if slices.Contains(a.Owners, directory.Key(id)) {
				return badRequest("One or more added object references already exist for the following modified properties: 'owners'.")
			}
			a.Owners = append(slices.Clone(a.Owners), directory.Key(id))
			return nil
		}))
	case r.Method == http.MethodDelete && len(rest) == 3 && rest[2].name == "$ref":
		return noContent(h.change(app, func(a *directory.Application, _ *directory.State) error {
			a.Owners = slices.DeleteFunc(slices.Clone(a.Owners), func(o string) bool { return o == directory.Key(rest[1].name) })
			return nil
		}))
	}
	return answer{}, notAllowed(r)
}

func (h *Handler) addPassword(r *request, app *directory.Application) (answer, error) {
	var body struct {
		Password struct {
			Name  string    `json:"displayName"`
			Start time.Time `json:"startDateTime"`
			End   time.Time `json:"endDateTime"`
		} `json:"passwordCredential"`
	}
	if err := wire.ReadJSON(r.Request, &body); err != nil {
		return answer{}, err
	}
	p := body.Password
	if p.Start.IsZero() {
		p.Start = h.Now().Truncate(time.Second)
	}
	if p.End.IsZero() {
		p.End = p.Start.Add(secretLife)
	}
	random := make([]byte, 30)
	_, _ = rand.Read(random) // never fails since Go 1.24
	value := base64.RawURLEncoding.EncodeToString(random)
	secret := directory.NewSecret(p.Name, value, p.Start, p.End)
	err := h.change(app, func(a *directory.Application, _ *directory.State) error {
		a.Secrets = append(slices.Clone(a.Secrets), secret)
		return nil
	})
	out := passwordBody(secret)
	out["secretText"] = value
	out["@odata.context"] = r.context + "microsoft.graph.passwordCredential"
	return answer{http.StatusOK, out}, err
}

func (h *Handler) removePassword(r *request, app *directory.Application) (answer, error) {
	var body struct {
		KeyID string `json:"keyId"`
	}
	if err := wire.ReadJSON(r.Request, &body); err != nil {
		return answer{}, err
	}
	return noContent(h.change(app, func(a *directory.Application, _ *directory.State) error {
		left := slices.DeleteFunc(slices.Clone(a.Secrets), func(s directory.Secret) bool { return strings.EqualFold(s.KeyID, body.KeyID) })
		if len(left) == len(a.Secrets) {
			return badRequest("No password credential found with keyId.")
		}
		a.Secrets = left
		return nil
	}))
}
