package emulator

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"azwi/emulator/internal/admin"
	"azwi/emulator/internal/directory"
	"azwi/emulator/internal/fault"
	"azwi/emulator/internal/hosts"
	"azwi/emulator/internal/journal"
	"azwi/emulator/internal/replication"
	"azwi/emulator/internal/sts"
	"azwi/emulator/internal/wire"
)

// Admin is the management API. It wants the bearer AdminToken:
//
//	GET  /state                   what the directory holds, without secrets
//	POST /reset                   the seed again; no faults, requests or pending changes
//	POST /clock {"advance":"24h"} moves the emulated clock
//	PUT  /faults                  a faults file, YAML or JSON, in place of the old one
//	GET  /requests                the last requests, without tokens
//	GET  /replication/{client-id} what each replica knows, and when all will
func (e *Emulator) Admin() http.Handler {
	return (&admin.Handler{Target: managed{e}, Token: e.config.AdminToken, Hosts: e.config.Hosts}).Handler()
}

// managed keeps what only the management API needs out of Emulator's methods.
type managed struct{ *Emulator }

// SetFaults puts the faults of a faults file, YAML or JSON, in place of the ones
// in force.
func (e *Emulator) SetFaults(text []byte) error { return e.setFaults("", text) }

func (e *Emulator) setFaults(name string, text []byte) error {
	if name == "" {
		name = "faults"
	}
	f, err := fault.Read(name, text)
	if err != nil {
		return fmt.Errorf("read faults: %w", err)
	}
	e.faults.Replace(f)
	return nil
}

// Reset puts the seed back and forgets requests, faults and pending changes. The
// clock keeps its time: tokens must not become valid again.
func (e *Emulator) Reset() error {
	start, err := e.readSeed()
	if err != nil {
		return err
	}
	e.faults.Replace(fault.File{})
	e.replicas.Reset()
	e.issuers.Forget()
	e.journal.Clear()
	given := sha256.Sum256(e.config.Seed)
	e.began.Store(&given)
	e.directory.Replace(start.State)
	return nil
}

// Requests are the last 1000 requests, the oldest first.
func (m managed) Requests() []journal.Entry { return m.journal.Entries() }

// Replication is the truth about one client's federated credentials.
func (m managed) Replication(clientID string) (replication.Status, bool) {
	found := false
	m.directory.View(func(s *directory.State) {
		for _, t := range s.Tenants {
			if c, ok := s.Client(t.ID, clientID); ok {
				found, clientID = true, c.AppID()
			}
		}
	})
	return m.replicas.Status(clientID), found
}

// State is the directory without secrets.
func (m managed) State() any {
	credentials := func(list []directory.Credential) []directory.Credential {
		if list == nil {
			return []directory.Credential{}
		}
		return list
	}
	out := map[string]any{"now": m.Now(), "randomSeed": m.random}
	m.directory.View(func(s *directory.State) {
		var applications, principals, identities, vaults []any
		for _, a := range directory.Sorted(s.Applications) {
			applications = append(applications, map[string]any{
				"objectId": a.ObjectID, "appId": a.AppID, "tenantId": a.TenantID, "name": a.Name, "identifierUris": a.IdentifierURIs,
				"owners": a.Owners, "secrets": len(a.Secrets), "certificates": len(a.Certificates), "federatedCredentials": credentials(a.Credentials),
			})
		}
		for _, p := range directory.Sorted(s.Principals) {
			principals = append(principals, map[string]any{
				"objectId": p.ObjectID, "appId": p.AppID, "tenantId": p.TenantID, "name": p.Name, "identityId": p.IdentityID,
				"secrets": len(p.Secrets), "certificates": len(p.Certificates), "directoryRoles": p.DirectoryRoles, "appRoles": p.AppRoles,
			})
		}
		for _, i := range directory.Sorted(s.Identities) {
			identities = append(identities, map[string]any{
				"id": i.ID(), "name": i.Name, "tenantId": i.TenantID, "clientId": i.ClientID, "principalId": i.PrincipalID,
				"imds": i.IMDS, "federatedCredentials": credentials(i.Credentials),
			})
		}
		for _, v := range directory.Sorted(s.Vaults) {
			names := []string{}
			for name := range v.Secrets {
				names = append(names, name)
			}
			vaults = append(vaults, map[string]any{"id": v.ID(), "name": v.Name, "secrets": names})
		}
		out["tenants"], out["subscriptions"] = directory.Sorted(s.Tenants), directory.Sorted(s.Subscriptions)
		out["resourceGroups"], out["roleAssignments"] = directory.Sorted(s.Groups), directory.Sorted(s.RoleAssignments)
		out["applications"], out["servicePrincipals"], out["managedIdentities"], out["vaults"] = applications, principals, identities, vaults
	})
	return out
}

// fail does what a fault orders, and reports whether that was the answer.
func (e *Emulator) fail(w http.ResponseWriter, r *http.Request, t hosts.Target, f fault.Fault) (answered bool) {
	if f.Delay > 0 {
		wait := time.NewTimer(f.Delay)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-r.Context().Done():
			return true
		}
	}
	switch {
	case f.Cut:
		cut(w, r)
		return true
	case f.Status == 0:
		return false
	}
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((f.RetryAfter+time.Second-1)/time.Second)))
	}
	if t.Service == hosts.Authority {
		answer := sts.Busy(f.Status)
		if code, err := strconv.Atoi(f.Code); err == nil {
			answer.Code, answer.Kind = code, "invalid_grant"
		}
		answer.Text = cmp.Or(f.Message, answer.Text)
		sts.WriteError(w, r, t.Authority, e.clock.Now(), answer)
		return true
	}
	wire.Fail(w, r, &wire.Error{
		Status: f.Status, Code: cmp.Or(f.Code, strings.ReplaceAll(http.StatusText(f.Status), " ", "")),
		Message: cmp.Or(f.Message, "azwi-emulator: the fault "+f.Name+" was ordered."),
	})
	return true
}

// connKey finds the connection in the context of a request to Serve.
type connKey struct{}

// cut closes the connection without an answer.
func cut(w http.ResponseWriter, r *http.Request) {
	conn, ok := r.Context().Value(connKey{}).(net.Conn)
	if !ok { // some other server that uses the handler
		var err error
		if conn, _, err = http.NewResponseController(w).Hijack(); err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
	}
	_ = conn.Close()
}
