package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"net/http"
	"time"

	"azwi/emulator/internal/hosts"
	"azwi/emulator/internal/journal"
	"azwi/emulator/internal/replication"
	"azwi/emulator/internal/wire"
)

// Target is what the API manages.
type Target interface {
	// State is everything in the directory but secrets.
	State() any
	// Reset puts the seed back and forgets requests, faults and the clock's
	// advance stays.
	Reset() error
	Advance(d time.Duration)
	Now() time.Time
	// SetFaults reads a faults file.
	SetFaults(text []byte) error
	Requests() []journal.Entry
	Replication(clientID string) (replication.Status, bool)
}

// A Handler serves the API. Every field but Hosts is required.
type Handler struct {
	Target Target
	// Token is the bearer that callers must present.
	Token string
	// Hosts are names beside loopback that requests may be for.
	Hosts []string
}

// Handler returns the routes.
func (h *Handler) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, _ *http.Request) { wire.JSON(w, http.StatusOK, h.Target.State()) })
	mux.HandleFunc("POST /reset", h.reset)
	mux.HandleFunc("POST /clock", h.clock)
	mux.HandleFunc("PUT /faults", h.faults)
	mux.HandleFunc("GET /requests", func(w http.ResponseWriter, _ *http.Request) {
		wire.JSON(w, http.StatusOK, map[string]any{"requests": h.Target.Requests()})
	})
	mux.HandleFunc("GET /replication/{client}", h.replication)
	return h.guard(mux)
}

// guard checks the Host, against web pages that rebind a name to loopback, and
// the token.
func (h *Handler) guard(next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(h.Token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !hosts.IsLoopback(r.Host) && !hosts.Named(h.Hosts, r.Host) {
			wire.Fail(w, r, &wire.Error{Status: http.StatusMisdirectedRequest, Code: "WrongHost", Message: "The management API is served on loopback names only."})
			return
		}
		token, _ := wire.Bearer(r)
		if got := sha256.Sum256([]byte(token)); subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			wire.Fail(w, r, &wire.Error{Status: http.StatusUnauthorized, Code: "Unauthorized",
				Message: "Send the token of the file admin-token as Authorization: Bearer.", Header: http.Header{"Www-Authenticate": {"Bearer"}}})
			return
		}
		next.ServeHTTP(w, r)
	})
}

func bad(format string, args ...any) error {
	return &wire.Error{Status: http.StatusBadRequest, Code: "BadRequest", Message: fmt.Sprintf(format, args...)}
}

func (h *Handler) reset(w http.ResponseWriter, r *http.Request) {
	if err := h.Target.Reset(); err != nil {
		wire.Fail(w, r, bad("%v", err))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (h *Handler) clock(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Advance string `json:"advance"`
	}
	if err := wire.ReadJSON(r, &body); err != nil {
		wire.Fail(w, r, err)
		return
	}
	d, err := time.ParseDuration(body.Advance)
	if err != nil || d < 0 {
		wire.Fail(w, r, bad(`advance must be a duration that is not negative, such as "24h"`))
		return
	}
	h.Target.Advance(d)
	wire.JSON(w, http.StatusOK, map[string]any{"now": h.Target.Now().Format(time.RFC3339Nano)})
}

func (h *Handler) faults(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, wire.MaxBody))
	if err != nil {
		wire.Fail(w, r, bad("the body can't be read"))
		return
	}
	if err := h.Target.SetFaults(text); err != nil {
		wire.Fail(w, r, bad("%v", err))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (h *Handler) replication(w http.ResponseWriter, r *http.Request) {
	status, ok := h.Target.Replication(r.PathValue("client"))
	if !ok {
		wire.Fail(w, r, &wire.Error{Status: http.StatusNotFound, Code: "NotFound", Message: "There is no client with this ID."})
		return
	}
	wire.JSON(w, http.StatusOK, status)
}
