package vault

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"azwi/emulator/internal/accesstoken"
	"azwi/emulator/internal/directory"
	"azwi/emulator/internal/hosts"
	"azwi/emulator/internal/wire"
)

// pageSize is small, so that clients which ignore nextLink fail.
const pageSize = 3

// maxSecret is the size of a secret's value at most, in bytes.
const maxSecret = 25 << 10

// A Handler serves all vaults. Every field is required.
type Handler struct {
	Directory *directory.Directory
	Tokens    *accesstoken.Service
	Now       func() time.Time
}

// Serve answers a request to the vault that t names.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, t hosts.Target) {
	answer, err := h.serve(r, t)
	wire.Respond(w, r, http.StatusOK, answer, err)
}

func (h *Handler) serve(r *http.Request, t hosts.Target) (any, error) {
	var vault *directory.Vault
	h.Directory.View(func(s *directory.State) { vault = s.Vaults[directory.Key(t.Name)] })
	if vault == nil {
		return nil, &wire.Error{Status: http.StatusNotFound, Code: "VaultNotFound", Message: "azwi-emulator: there is no vault " + t.Name + "."}
	}
	caller, err := h.authenticate(r, t, vault)
	if err != nil {
		return nil, err
	}
	if err := checkVersion(r); err != nil {
		return nil, err
	}
	segments := strings.Split(strings.Trim(t.Path, "/"), "/")
	if segments[0] != "secrets" || len(segments) > 3 {
		return nil, &wire.Error{Status: http.StatusNotFound, Code: "NotFound", Message: "azwi-emulator: of Key Vault only secrets are emulated."}
	}
	switch {
	case r.Method == http.MethodGet && len(segments) == 1:
		return h.list(r, t, vault, caller)
	case r.Method == http.MethodGet && len(segments) == 3 && segments[2] == "versions":
		return h.versions(t, vault, caller, segments[1])
	case r.Method == http.MethodGet:
		version := ""
		if len(segments) == 3 {
			version = segments[2]
		}
		return h.get(t, vault, caller, segments[1], version)
	case r.Method == http.MethodPut && len(segments) == 2:
		return h.set(r, t, vault, caller, segments[1])
	case r.Method == http.MethodDelete && len(segments) == 2:
		return h.delete(t, vault, caller, segments[1])
	}
	return nil, &wire.Error{Status: http.StatusMethodNotAllowed, Code: "MethodNotAllowed", Message: "Method " + r.Method + " is not allowed here."}
}

// authenticate answers a request without a good token with the challenge, from
// which clients learn tenant and resource.
func (h *Handler) authenticate(r *http.Request, t hosts.Target, vault *directory.Vault) (accesstoken.Claims, error) {
	challenge := func(message, extra string) error {
		value := fmt.Sprintf(`Bearer authorization="%s/%s", resource="https://%s"%s`, t.Authority, vault.TenantID, t.Cloud.VaultSuffix, extra)
		return &wire.Error{Status: http.StatusUnauthorized, Code: "Unauthorized", Message: message, Header: http.Header{"Www-Authenticate": {value}}}
	}
	raw, ok := wire.Bearer(r)
	if !ok {
		return accesstoken.Claims{}, challenge("AKV10000: Request is missing a Bearer or PoP token.", "")
	}
	claims, err := h.Tokens.Verify(raw)
	switch {
	case err != nil:
		return claims, challenge("AKV10032: Invalid token: "+err.Error()+".", `, error="invalid_token"`)
	case !hosts.Vault.Accepts(claims.Audience):
		return claims, challenge("AKV10022: Invalid audience. Expected https://"+t.Cloud.VaultSuffix+", found: "+claims.Audience+".", "")
	case claims.TenantID != vault.TenantID:
		return claims, challenge("AKV10032: Invalid issuer. The token is of another tenant.", "")
	}
	return claims, nil
}

// checkVersion accepts the versions of the form that Key Vault has, since its
// secrets have not changed in any of them.
func checkVersion(r *http.Request) error {
	v := r.URL.Query().Get("api-version")
	_, dated := time.Parse(time.DateOnly, strings.TrimSuffix(v, "-preview"))
	minor, numbered := strings.CutPrefix(v, "7.")
	switch {
	case v == "":
		return &wire.Error{Status: http.StatusBadRequest, Code: "BadParameter", Message: "api-version must be specified"}
	case dated == nil, numbered && len(minor) == 1 && minor[0] >= '0' && minor[0] <= '6':
		return nil
	}
	return &wire.Error{Status: http.StatusBadRequest, Code: "BadParameter", Message: "The specified version (" + v + ") is not recognized."}
}

// allow checks the caller's roles for a data action.
func (h *Handler) allow(caller accesstoken.Claims, vault *directory.Vault, action, scope string) error {
	var ok bool
	h.Directory.View(func(s *directory.State) {
		ok = directory.Allowed(s.RolesAt(caller.ObjectID, vault.ID()+scope), action, true)
	})
	if ok {
		return nil
	}
	return &wire.Error{Status: http.StatusForbidden, Code: "Forbidden", Message: fmt.Sprintf("Caller is not authorized to perform action on resource.\r\n"+
		"If role assignments, deny assignments or role definitions were changed recently, please observe propagation time.\r\n"+
		"Caller: appid=%s;oid=%s;iss=%s\r\nAction: '%s'\r\nResource: '%s'\r\nAssignment: (not found)\r\nDecisionReason: 'DeniedWithNoValidRBAC'\r\nVault: %s;location=%s\r\n",
		caller.AppID, caller.ObjectID, caller.Issuer, action, strings.ToLower(vault.ID()+scope), vault.Name, vault.Location)}
}

const (
	actionGet    = "Microsoft.KeyVault/vaults/secrets/getSecret/action"
	actionList   = "Microsoft.KeyVault/vaults/secrets/readMetadata/action"
	actionSet    = "Microsoft.KeyVault/vaults/secrets/setSecret/action"
	actionDelete = "Microsoft.KeyVault/vaults/secrets/delete"
)

func notFound(name string) error {
	return &wire.Error{Status: http.StatusNotFound, Code: "SecretNotFound", Message: "A secret with (name/id) " + name +
		" was not found in this key vault. If you recently deleted this secret you may be able to recover it using the correct recovery command. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182"}
}

func (h *Handler) get(t hosts.Target, vault *directory.Vault, caller accesstoken.Claims, name, version string) (any, error) {
	if err := h.allow(caller, vault, actionGet, "/secrets/"+name); err != nil {
		return nil, err
	}
	secret, versions, ok := find(vault.Secrets, name)
	if !ok {
		return nil, notFound(name)
	}
	for _, v := range slices.Backward(versions) {
		if version == "" || strings.EqualFold(v.Version, version) {
			return bundle(t, secret, v, true), nil
		}
	}
	return nil, notFound(name + "/" + version)
}

// find looks a secret up whatever the case of its name.
func find(secrets map[string][]directory.SecretVersion, name string) (string, []directory.SecretVersion, bool) {
	if v, ok := secrets[name]; ok {
		return name, v, true
	}
	for n, v := range secrets {
		if strings.EqualFold(n, name) {
			return n, v, true
		}
	}
	return name, nil, false
}

// id is a secret's identifier. Clients take it apart, so that it has the vault's
// own host in direct mode too.
func id(t hosts.Target, name string) string {
	return "https://" + strings.ToLower(t.Name) + "." + t.Cloud.VaultSuffix + "/secrets/" + name
}

func bundle(t hosts.Target, name string, v directory.SecretVersion, value bool) map[string]any {
	out := map[string]any{
		"id": id(t, name) + "/" + v.Version,
		"attributes": map[string]any{
			"enabled": true, "created": v.Created.Unix(), "updated": v.Created.Unix(),
			"recoveryLevel": "Purgeable", "recoverableDays": 0,
		},
		"tags": v.Tags,
	}
	if v.Tags == nil {
		out["tags"] = map[string]string{}
	}
	if v.ContentType != "" {
		out["contentType"] = v.ContentType
	}
	if value {
		out["value"] = v.Value
	}
	return out
}

func (h *Handler) list(r *http.Request, t hosts.Target, vault *directory.Vault, caller accesstoken.Claims) (any, error) {
	if err := h.allow(caller, vault, actionList, ""); err != nil {
		return nil, err
	}
	type named struct {
		name string
		last directory.SecretVersion
	}
	byName := map[string]named{}
	for name, versions := range vault.Secrets {
		byName[strings.ToLower(name)] = named{name, versions[len(versions)-1]}
	}
	q := r.URL.Query()
	page, next := wire.Page(directory.Sorted(byName), q.Get("maxresults"), q.Get("$skiptoken"), pageSize)
	value := make([]any, len(page))
	for i, s := range page {
		item := bundle(t, s.name, s.last, false)
		item["id"] = id(t, s.name)
		value[i] = item
	}
	return pageOf(value, wire.NextLink(t.Base, "/secrets", q, "$skiptoken", next)), nil
}

func (h *Handler) versions(t hosts.Target, vault *directory.Vault, caller accesstoken.Claims, name string) (any, error) {
	if err := h.allow(caller, vault, actionList, "/secrets/"+name); err != nil {
		return nil, err
	}
	secret, versions, ok := find(vault.Secrets, name)
	if !ok {
		return nil, notFound(name)
	}
	value := []any{}
	for _, v := range versions {
		value = append(value, bundle(t, secret, v, false))
	}
	return pageOf(value, ""), nil
}

func pageOf(value []any, next string) map[string]any {
	out := map[string]any{"value": value, "nextLink": nil}
	if next != "" {
		out["nextLink"] = next
	}
	return out
}

func (h *Handler) set(r *http.Request, t hosts.Target, vault *directory.Vault, caller accesstoken.Claims, name string) (any, error) {
	if err := h.allow(caller, vault, actionSet, "/secrets/"+name); err != nil {
		return nil, err
	}
	var body struct {
		Value       *string           `json:"value"`
		ContentType string            `json:"contentType"`
		Tags        map[string]string `json:"tags"`
	}
	if err := wire.ReadJSON(r, &body); err != nil {
		return nil, err
	}
	if !directory.ValidSecretName(name) || body.Value == nil || len(*body.Value) > maxSecret {
		return nil, &wire.Error{Status: http.StatusBadRequest, Code: "BadParameter", Message: "The request URI contains an invalid name, or the value is missing or too long: " + name}
	}
	version := directory.SecretVersion{
		Version: strings.ReplaceAll(uuid.NewString(), "-", ""), Value: *body.Value, ContentType: body.ContentType, Tags: body.Tags,
		Created: h.Now().Truncate(time.Second),
	}
	err := h.Directory.Update(func(s *directory.State) error {
		return change(s, vault.Name, func(secrets map[string][]directory.SecretVersion) {
			key, versions, _ := find(secrets, name)
			name = key
			secrets[key] = append(slices.Clip(versions), version)
		})
	})
	return bundle(t, name, version, true), err
}

func (h *Handler) delete(t hosts.Target, vault *directory.Vault, caller accesstoken.Claims, name string) (any, error) {
	if err := h.allow(caller, vault, actionDelete, "/secrets/"+name); err != nil {
		return nil, err
	}
	secret, versions, ok := find(vault.Secrets, name)
	if !ok {
		return nil, notFound(name)
	}
	err := h.Directory.Update(func(s *directory.State) error {
		return change(s, vault.Name, func(secrets map[string][]directory.SecretVersion) { delete(secrets, secret) })
	})
	return bundle(t, secret, versions[len(versions)-1], false), err
}

// change stores a copy of the vault with changed secrets.
func change(s *directory.State, name string, f func(map[string][]directory.SecretVersion)) error {
	current, ok := s.Vaults[directory.Key(name)]
	if !ok {
		return &wire.Error{Status: http.StatusNotFound, Code: "VaultNotFound", Message: "The vault is gone."}
	}
	secrets := make(map[string][]directory.SecretVersion, len(current.Secrets)+1)
	maps.Copy(secrets, current.Secrets)
	f(secrets)
	changed := *current
	changed.Secrets = secrets
	s.PutVault(&changed)
	return nil
}
