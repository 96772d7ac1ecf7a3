package imds

import (
	"net/http"
	"strings"

	"azwi/emulator/internal/directory"
	"azwi/emulator/internal/hosts"
	"azwi/emulator/internal/sts"
	"azwi/emulator/internal/wire"
)

// A Handler serves the metadata service. Every field is required.
type Handler struct {
	Directory *directory.Directory
	STS       *sts.Handler
}

// Serve answers a request. The errors are those of "How to use managed
// identities on a VM to acquire a token", Microsoft docs.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, t hosts.Target) {
	fail := func(status int, kind, text string) {
		wire.JSON(w, status, map[string]string{"error": kind, "error_description": text})
	}
	path := strings.ToLower(strings.Trim(strings.ReplaceAll(r.URL.Path, "//", "/"), "/"))
	switch {
	// Without the header it is a probe, or a forged request that a server was
	// made to send; it is answered before anything is looked at.
	case !strings.EqualFold(r.Header.Get("Metadata"), "true"):
		fail(http.StatusBadRequest, "invalid_request", "Required metadata header not specified")
		return
	case r.Header.Get("X-Forwarded-For") != "":
		fail(http.StatusBadRequest, "invalid_request", "X-Forwarded-For is not allowed")
		return
	case path != "metadata/identity/oauth2/token":
		fail(http.StatusNotFound, "not_found", "The metadata service has nothing here")
		return
	case r.Method != http.MethodGet:
		fail(http.StatusMethodNotAllowed, "invalid_request", "Only GET is allowed")
		return
	}
	q := r.URL.Query()
	switch {
	case q.Get("api-version") == "":
		fail(http.StatusBadRequest, "invalid_request", "Required query variable 'api-version' is missing")
		return
	case q.Get("api-version") < "2018-02-01":
		fail(http.StatusBadRequest, "invalid_request", "The requested version is not supported")
		return
	case q.Get("resource") == "":
		fail(http.StatusBadRequest, "invalid_request", "Required query variable 'resource' is missing")
		return
	}
	client, ok := h.find(map[string]string{
		"client": first(q.Get("client_id"), q.Get("clientid")),
		"object": first(q.Get("object_id"), q.Get("principal_id")),
		"id":     first(q.Get("mi_res_id"), q.Get("msi_res_id"), q.Get("msi-res-id")),
	})
	if !ok {
		fail(http.StatusBadRequest, "invalid_request", "Identity not found")
		return
	}
	answer, e := h.STS.Issue(client, t, q.Get("resource"))
	if e != nil {
		fail(e.Status, e.Kind, e.Error())
		return
	}
	answer["client_id"] = client.Principal.AppID
	delete(answer, "refresh_in")
	wire.JSON(w, http.StatusOK, answer)
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// find picks the identity of this machine that the request names. Without a name
// it is the only one there is.
func (h *Handler) find(by map[string]string) (client directory.Client, ok bool) {
	h.Directory.View(func(s *directory.State) {
		var found []*directory.Identity
		for _, i := range directory.Sorted(s.Identities) {
			if i.IMDS && same(by["client"], i.ClientID) && same(by["object"], i.PrincipalID) && same(by["id"], i.ID()) {
				found = append(found, i)
			}
		}
		if len(found) == 1 {
			client, ok = s.Client(found[0].TenantID, found[0].ClientID)
		}
	})
	return client, ok
}

func same(asked, has string) bool { return asked == "" || directory.Key(asked) == directory.Key(has) }
