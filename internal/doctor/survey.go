package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"azwi/contract"
	"azwi/internal/azure"
	"azwi/internal/finding"
	"azwi/internal/guid"
	"azwi/internal/identity/federation"
	"azwi/internal/identity/provision"
	"azwi/internal/install"
	"azwi/internal/kube"
	"azwi/internal/pod/lint"
	"azwi/internal/pod/manifest"
	"azwi/internal/pod/workload"
)

// A Survey is what is wrong in a namespace or in the whole cluster, grouped by cause.
type Survey struct {
	// Pods run, Accounts have a client ID, Identities are those of the client IDs.
	Pods       int `json:"pods"`
	Accounts   int `json:"serviceAccounts"`
	Identities int `json:"identities"`
	// Causes are sorted: errors first, and those first that touch the most pods.
	Causes []Cause `json:"causes"`
	// Quotas are the identities whose credentials were read, the fullest first.
	Quotas []Quota `json:"quotas,omitempty"`
	// Unknown is what could not be looked at.
	Unknown []string `json:"unknown,omitempty"`
	// Denied: some of that for lack of a right.
	Denied bool `json:"denied,omitempty"`

	accounts map[string]*surveyed
}

// A Cause is what is wrong, and where.
type Cause struct {
	Code     finding.Code     `json:"code"`
	Severity finding.Severity `json:"severity"`
	Title    string           `json:"title"`
	// Pods counts the running pods that it touches.
	Pods  int    `json:"pods"`
	Cases []Case `json:"cases"`
}

// A Case is a cause at one object.
type Case struct {
	// Object is a workload or a service account; empty for the installation.
	Object string `json:"object,omitempty"`
	Pods   int    `json:"pods"`
	finding.Finding
}

// MarshalJSON writes the finding's members beside the object.
func (c Case) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Object  string `json:"object,omitempty"`
		Pods    int    `json:"pods"`
		Text    string `json:"text"`
		Command string `json:"command,omitempty"`
	}{c.Object, c.Pods, c.Text(), c.Command()})
}

// A Quota is how many of the federated credentials that Azure allows an identity has.
type Quota struct {
	Identity string `json:"identity"`
	ClientID string `json:"clientId"`
	Used     int    `json:"used"`
	Limit    int    `json:"limit"`
}

// add puts a case to its cause.
func (s *Survey) add(object string, pods int, f finding.Finding) {
	i := slices.IndexFunc(s.Causes, func(c Cause) bool { return c.Code == f.Code() })
	if i < 0 {
		entry, _ := finding.Find(f.Code())
		s.Causes = append(s.Causes, Cause{Code: f.Code(), Severity: f.Severity(), Title: entry.Title})
		i = len(s.Causes) - 1
	}
	cause := &s.Causes[i]
	cause.Pods += pods
	cause.Cases = append(cause.Cases, Case{object, pods, f})
}

func (s *Survey) unknown(err error) {
	s.Unknown = append(s.Unknown, oneLine(err))
	s.Denied = s.Denied || denied(err)
}

// sort puts errors first, and among them what touches the most pods.
func (s *Survey) sort() {
	slices.SortStableFunc(s.Causes, func(a, b Cause) int {
		return cmp.Or(cmp.Compare(a.Severity, b.Severity), cmp.Compare(b.Pods, a.Pods), cmp.Compare(a.Code, b.Code))
	})
	for _, c := range s.Causes {
		slices.SortStableFunc(c.Cases, func(a, b Case) int { return strings.Compare(a.Object, b.Object) })
	}
}

// orUnknown notes a lack of rights, and passes other errors on.
func (s *Survey) orUnknown(err error) error {
	if !kube.IsForbidden(err) {
		return err
	}
	s.unknown(err)
	return nil
}

// Wrong reports whether there is an error.
func (s *Survey) Wrong() bool {
	return slices.ContainsFunc(s.Causes, func(c Cause) bool { return c.Severity == finding.Error })
}

// A surveyed service account, and the pods that run as it.
type surveyed struct {
	accountObject
	namespace, name string
	clientID        string
	pods            int
	// workloads are those of its pods that have a finding.
	workloads []string
	// unread: the service account could not be read, or is gone.
	unread bool
}

// A Selection says what a Survey looks at.
type Selection struct {
	// Namespace is one; empty is all.
	Namespace string
	// Labels select the pods. Default: all. Service accounts are looked at whatever their
	// labels.
	Labels string
}

// Survey looks at all service accounts and running pods of a selection. It requests no
// token. progress is told how far it is, and may be nil.
func (d *Doctor) Survey(ctx context.Context, of Selection, progress func(done, all int)) (*Survey, error) {
	if progress == nil {
		progress = func(int, int) {}
	}
	s := &Survey{Causes: []Cause{}}
	d.surveyInstallation(ctx, s)
	accounts, err := d.surveyAccounts(ctx, of.Namespace, s)
	if err := s.orUnknown(err); err != nil {
		return nil, err
	}
	s.accounts = accounts
	if err := s.orUnknown(d.surveyPods(ctx, of, accounts, s)); err != nil {
		return nil, err
	}
	if err := d.surveyIdentities(ctx, accounts, s, progress); err != nil {
		return nil, err
	}
	s.sort()
	return s, ctx.Err()
}

func (d *Doctor) surveyInstallation(ctx context.Context, s *Survey) {
	status, err := install.ReadServing(ctx, d.config.Cluster, d.config.Now())
	switch {
	case err != nil:
		s.unknown(err)
		return
	case status == nil:
		s.add("", 0, finding.NothingInstalled())
		return
	}
	for _, f := range status.Problems {
		s.add("", 0, f)
	}
	for _, f := range status.Unknown {
		s.Unknown = append(s.Unknown, f.Text())
	}
	s.Denied = s.Denied || status.Unread
}

// readAccounts reads the service accounts by NAMESPACE/NAME.
func (d *Doctor) readAccounts(ctx context.Context, namespace string, each func(*surveyed) error) (map[string]*surveyed, error) {
	accounts := map[string]*surveyed{}
	err := d.config.Cluster.List(ctx, kube.Ref{APIVersion: "v1", Kind: "ServiceAccount", Namespace: namespace}, "", func(raw json.RawMessage) error {
		a := &surveyed{}
		if err := json.Unmarshal(raw, &a.accountObject); err != nil {
			return err
		}
		m := a.Metadata
		a.namespace, a.name, a.clientID = m.Namespace, m.Name, m.Annotations[contract.ClientIDAnnotation]
		accounts[m.Namespace+"/"+m.Name] = a
		return each(a)
	})
	return accounts, err
}

// surveyAccounts has package lint look at the service accounts, all at once.
func (d *Doctor) surveyAccounts(ctx context.Context, namespace string, s *Survey) (map[string]*surveyed, error) {
	var text []byte
	accounts, err := d.readAccounts(ctx, namespace, func(a *surveyed) error {
		if a.clientID != "" {
			s.Accounts++
		}
		written, err := json.Marshal(object{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": object{
			"name": a.name, "namespace": a.namespace, "labels": a.Metadata.Labels, "annotations": withoutLastApplied(a.Metadata.Annotations),
		}})
		text = append(append(text, written...), '\n')
		return err
	})
	if err != nil {
		return accounts, err
	}
	for _, f := range lint.Lint([]*manifest.File{manifest.Parse("cluster.json", text)}, lint.Config{Quiet: true}) {
		if f.Severity <= finding.Warning {
			s.add("service account "+f.Namespace+"/"+f.Name, 0, f.Finding)
		}
	}
	return accounts, nil
}

// surveyPods looks at the running pods, a case for each workload.
func (d *Doctor) surveyPods(ctx context.Context, selected Selection, accounts map[string]*surveyed, s *Survey) error {
	type key struct {
		of   finding.Workload
		code finding.Code
	}
	cases := map[key]*Case{}
	err := d.config.Cluster.List(ctx, kube.Ref{APIVersion: "v1", Kind: "Pod", Namespace: selected.Namespace}, selected.Labels, func(raw json.RawMessage) error {
		var p workload.Running
		if err := json.Unmarshal(raw, &p); err != nil {
			return err
		}
		if !p.Runs() {
			return nil
		}
		s.Pods++
		a := accounts[p.Metadata.Namespace+"/"+p.Account()]
		if a == nil {
			a = &surveyed{unread: true}
		}
		of := p.Workload()
		f, wrong := p.Judge(a.clientID, !a.unread)
		if p.Spec.Injected() || wrong {
			a.pods++
		}
		if !wrong {
			return nil
		}
		k := key{of, f.Code()}
		if !slices.Contains(a.workloads, of.String()) {
			a.workloads = append(a.workloads, of.String())
		}
		if cases[k] == nil {
			cases[k] = &Case{Object: of.String(), Finding: f}
		}
		cases[k].Pods++
		return nil
	})
	for _, c := range cases {
		s.add(c.Object, c.Pods, c.Finding)
	}
	return err
}

// surveyIdentities compares the credentials of each identity with the service accounts that
// name it.
func (d *Doctor) surveyIdentities(ctx context.Context, accounts map[string]*surveyed, s *Survey, progress func(done, all int)) error {
	byID := map[string][]*surveyed{}
	for _, key := range slices.Sorted(maps.Keys(accounts)) {
		if a := accounts[key]; guid.Valid(a.clientID) {
			byID[strings.ToLower(a.clientID)] = append(byID[strings.ToLower(a.clientID)], a)
		}
	}
	s.Identities = len(byID)
	if d.config.Azure == nil {
		s.unknown(cmp.Or(d.config.NoAzure, error(errSkipped("not signed in to Azure"))))
		return nil
	}
	issuer, err := d.config.Cluster.Issuer(ctx)
	if err != nil {
		s.unknown(err)
		return nil
	}
	audience, err := install.Audience(ctx, d.config.Cluster)
	if err != nil {
		s.unknown(err)
		return nil
	}
	err = d.lookAtIdentities(ctx, slices.Sorted(maps.Keys(byID)), progress, func(found identityLook) {
		s.judgeIdentity(found, byID[found.clientID], issuer, audience)
	})
	slices.SortFunc(s.Quotas, func(a, b Quota) int {
		return cmp.Or(cmp.Compare(b.Used, a.Used), strings.Compare(a.Identity, b.Identity))
	})
	slices.Sort(s.Unknown)
	s.Unknown = slices.Compact(s.Unknown)
	return err
}

// lookAtIdentities reads the credentials of identities, some at a time, and hands each to a
// function, one after another.
func (d *Doctor) lookAtIdentities(ctx context.Context, clientIDs []string, progress func(done, all int), each func(identityLook)) error {
	known, err := d.config.Azure.identities(ctx)
	if err != nil && azure.Refused(err).SignIn {
		each(identityLook{err: err})
		return nil
	}
	// An identity of another subscription, and an application, are found one by one.
	limiter := rate.NewLimiter(cmp.Or(rate.Limit(d.config.ReadsPerSecond), rate.Inf), 1)
	var mu sync.Mutex
	done := 0
	var group errgroup.Group
	const parallel = 8
	group.SetLimit(parallel)
	for _, id := range clientIDs {
		group.Go(func() error {
			if err := limiter.Wait(ctx); err != nil {
				return context.Cause(ctx)
			}
			found := d.lookAtIdentity(ctx, id, known[id])
			mu.Lock()
			defer mu.Unlock()
			done++
			progress(done, len(clientIDs))
			each(found)
			return nil
		})
	}
	return group.Wait()
}

// identities are the managed identities of the subscription by their client IDs: one list
// in place of a question for each.
func (a *Azure) identities(ctx context.Context) (map[string]provision.Identity, error) {
	byID := map[string]provision.Identity{}
	if a.Subscription == "" {
		return byID, nil
	}
	all, err := a.ARM.Identities(ctx, a.Subscription, "")
	for _, i := range all {
		byID[strings.ToLower(i.ClientID)] = provision.ManagedIdentity(i)
	}
	return byID, err
}

// An identityLook is what Azure says of a client ID.
type identityLook struct {
	clientID string
	resolved provision.Resolved
	existing []federation.Credential
	listed   bool
	err      error
}

func (d *Doctor) lookAtIdentity(ctx context.Context, clientID string, known provision.Identity) identityLook {
	look := identityLook{clientID: clientID, resolved: provision.Resolved{Identity: known, Found: known.ClientID != ""}}
	if !look.resolved.Found {
		if look.resolved, look.err = d.config.Azure.resolve(ctx, clientID); look.err != nil {
			return look
		}
	}
	identity, ok := look.resolved.Identity.Federated()
	if !look.resolved.Found || look.resolved.ByObjectID || !ok {
		return look
	}
	look.existing, look.err = d.config.Azure.Credentials.List(ctx, identity)
	look.listed = look.err == nil
	return look
}

// judgeIdentity adds what is wrong between an identity and its service accounts.
func (s *Survey) judgeIdentity(look identityLook, accounts []*surveyed, issuer, audience string) {
	if look.err != nil {
		s.unknown(look.err)
		return
	}
	if look.listed {
		s.Quotas = append(s.Quotas, Quota{look.resolved.Identity.Name, look.clientID, len(look.existing), federation.MaxCredentials})
	}
	for _, a := range accounts {
		of := "service account " + a.namespace + "/" + a.name
		switch r := look.resolved; {
		case !r.Found:
			s.add(of, a.pods, finding.IdentityMissing(a.clientID, a.Metadata.Annotations[contract.TenantIDAnnotation]))
		case r.ByObjectID:
			s.add(of, a.pods, finding.ClientIDIsObjectID(a.namespace, a.name, a.clientID, r.Identity.ClientID))
		case r.Identity.PrincipalID == "":
			s.add(of, a.pods, finding.PrincipalMissing(a.clientID))
		case look.listed:
			w := finding.Wanted{
				Namespace: a.namespace, Account: a.name, Issuer: issuer, Subject: contract.Subject(a.namespace, a.name), Audience: audience,
				ResourceID: r.Identity.ResourceID, ClientID: a.clientID,
			}
			if f, wrong := judge(w, look.existing); wrong {
				s.add(of, a.pods, f)
			}
		}
	}
}
