package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/guid"
	"azwi/internal/identity/federation"
	"azwi/internal/kube"
	"azwi/internal/pod/workload"
)

// An Audit is the security view: which service accounts can become which identity, who can
// act as them, and what widens that more than need be.
type Audit struct {
	// Accounts have a client ID.
	Accounts []AuditedAccount `json:"serviceAccounts"`
	// Administrators may do everything in the cluster, by RBAC. They are not repeated with
	// each account.
	Administrators []string `json:"administrators"`
	// Causes are as in a Survey.
	Causes []Cause `json:"causes"`
	// Unknown is what could not be looked at.
	Unknown []string `json:"unknown,omitempty"`
	Denied  bool     `json:"denied,omitempty"`
}

// An AuditedAccount can become an identity.
type AuditedAccount struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	ClientID  string `json:"clientId"`
	// Identity is the name of the identity, if Azure was asked.
	Identity string `json:"identity,omitempty"`
	// Pods run as it.
	Pods int `json:"pods"`
	// Actors can act as it.
	Actors []Actor `json:"actors"`
}

// An Actor is a subject of RBAC, and how it can act as a service account.
type Actor struct {
	Subject string   `json:"subject"`
	Ways    []string `json:"ways"`
}

// Audit looks at the service accounts of a namespace, or of the cluster if that is empty.
func (d *Doctor) Audit(ctx context.Context, namespace string, progress func(done, all int)) (*Audit, error) {
	if progress == nil {
		progress = func(int, int) {}
	}
	s := &Survey{Causes: []Cause{}}
	accounts, err := d.readAccounts(ctx, namespace, func(*surveyed) error { return nil })
	if err != nil {
		return nil, err
	}
	d.surveyInstallation(ctx, s)
	if err := s.orUnknown(d.auditPods(ctx, namespace, accounts, s)); err != nil {
		return nil, err
	}
	a := &Audit{Accounts: []AuditedAccount{}, Administrators: []string{}}
	for _, key := range slices.Sorted(maps.Keys(accounts)) {
		if one := accounts[key]; guid.Valid(one.clientID) {
			a.Accounts = append(a.Accounts, AuditedAccount{Namespace: one.namespace, Name: one.name, ClientID: one.clientID, Pods: one.pods, Actors: []Actor{}})
			s.auditLifetime(one)
		}
	}
	grants, err := readRBAC(ctx, d.config.Cluster)
	if err := s.orUnknown(err); err != nil {
		return nil, err
	}
	a.actors(grants, s)
	a.shared(s)
	if err := d.auditIdentities(ctx, a, accounts, namespace == "", s, progress); err != nil {
		return nil, err
	}
	s.sort()
	a.Causes, a.Unknown, a.Denied = s.Causes, s.Unknown, s.Denied
	return a, ctx.Err()
}

// actors finds out who can act as each account.
func (a *Audit) actors(grants []granted, s *Survey) {
	admins := map[string]bool{}
	for _, g := range grants {
		if g.all() {
			admins[g.subject] = true
		}
	}
	a.Administrators = append(a.Administrators, slices.Sorted(maps.Keys(admins))...)
	for i := range a.Accounts {
		account := &a.Accounts[i]
		found := map[string][]string{}
		for _, g := range grants {
			if admins[g.subject] || controls(g.subject) {
				continue
			}
			for _, w := range ways() {
				if !slices.Contains(found[g.subject], w.text) && g.leads(w, account.Namespace, account.Name, account.Pods > 0) {
					found[g.subject] = append(found[g.subject], w.text)
				}
			}
		}
		for _, subject := range slices.Sorted(maps.Keys(found)) {
			account.Actors = append(account.Actors, Actor{subject, found[subject]})
			s.add("service account "+account.Namespace+"/"+account.Name, account.Pods, finding.CanActAs(subject, found[subject]))
		}
	}
}

// controls reports whether a subject is a part of Kubernetes itself.
func controls(subject string) bool {
	return strings.HasPrefix(subject, "user system:") || subject == "group system:nodes"
}

// shared finds identities that the accounts of several namespaces become.
func (a *Audit) shared(s *Survey) {
	namespaces := map[string][]string{}
	for _, one := range a.Accounts {
		id := strings.ToLower(one.ClientID)
		if !slices.Contains(namespaces[id], one.Namespace) {
			namespaces[id] = append(namespaces[id], one.Namespace)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(namespaces)) {
		if list := namespaces[id]; len(list) > 1 {
			s.add("identity "+id, 0, finding.IdentityShared(id, list))
		}
	}
}

// auditPods counts the pods of each account, and looks for secrets beside it, and for what
// they reach.
func (d *Doctor) auditPods(ctx context.Context, namespace string, accounts map[string]*surveyed, s *Survey) error {
	var withIdentity []workload.Running
	err := d.config.Cluster.List(ctx, kube.Ref{APIVersion: "v1", Kind: "Pod", Namespace: namespace}, "", func(raw json.RawMessage) error {
		var p workload.Running
		if err := json.Unmarshal(raw, &p); err != nil {
			return err
		}
		one := accounts[p.Metadata.Namespace+"/"+p.Account()]
		if !p.Runs() || one == nil || one.clientID == "" {
			return nil
		}
		one.pods++
		withIdentity = append(withIdentity, p)
		for _, c := range p.Spec.All() {
			if _, ok := c.Value("AZURE_CLIENT_SECRET"); ok {
				s.add(p.Workload().String(), 1, finding.ClientSecret(c.Name, "AZURE_CLIENT_SECRET"))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return d.auditEgress(ctx, namespace, withIdentity, s)
}

// auditLifetime looks at how long the account's tokens live.
func (s *Survey) auditLifetime(one *surveyed) {
	text := one.Metadata.Annotations[contract.TokenExpirationAnnotation]
	const long = 4 * 3600
	if seconds, err := strconv.Atoi(text); err == nil && seconds > long {
		s.add("service account "+one.namespace+"/"+one.name, one.pods, finding.TokenLongLived(seconds))
	}
}

// auditIdentities looks for credentials that are wider than what the cluster has. whole says
// that all accounts of the cluster are known.
func (d *Doctor) auditIdentities(ctx context.Context, a *Audit, accounts map[string]*surveyed, whole bool, s *Survey, progress func(done, all int)) error {
	if d.config.Azure == nil {
		s.unknown(cmp.Or(d.config.NoAzure, error(errSkipped("not signed in to Azure"))))
		return nil
	}
	issuer, err := d.config.Cluster.Issuer(ctx)
	if err != nil {
		s.unknown(err)
		return nil
	}
	var ids []string
	for _, one := range a.Accounts {
		if id := strings.ToLower(one.ClientID); !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return d.lookAtIdentities(ctx, ids, progress, func(look identityLook) {
		if look.err != nil {
			s.unknown(look.err)
			return
		}
		name := look.resolved.Identity.Name
		for i := range a.Accounts {
			if strings.EqualFold(a.Accounts[i].ClientID, look.clientID) {
				a.Accounts[i].Identity = name
			}
		}
		for _, c := range look.existing {
			namespace, account, ok := federation.ParseSubject(c.Subject)
			switch {
			case c.Subject == "":
				s.add("identity "+name, 0, finding.SubjectWide(c.Name))
			case whole && c.Issuer == issuer && (!ok || accounts[namespace+"/"+account] == nil):
				s.add("identity "+name, 0, finding.CredentialUnused(c.Name, c.Subject))
			}
		}
	})
}
