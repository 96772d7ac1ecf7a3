package migrate

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/kube"
	"azwi/internal/pod/inject"
	"azwi/internal/pod/workload"
	"azwi/internal/token/identitymap"
)

// Config of Detect.
type Config struct {
	// API reads the cluster. Required.
	API *kube.Client
	// Namespace to look in. Empty: all of them.
	Namespace string
	// Settings are the webhook's; the image, port and mode of the proxy come from
	// there.
	Settings inject.Settings
	// ProxyContainers writes the proxy's containers into the workloads, as the
	// webhook would make them, so that it finds them there. Without, it adds them
	// itself to each pod.
	ProxyContainers bool
	// ProxyPort defaults to contract.DefaultProxyPort.
	ProxyPort int
	// TokenExpiration of the service accounts, in seconds. Zero: the webhook's
	// default.
	TokenExpiration int64
	// TenantID of the service accounts. Default: that of the AzureIdentity, which
	// only service principals have.
	TenantID string
}

// A Plan is what to write.
type Plan struct {
	Accounts  []Account
	Workloads []Workload
	// LeftOut are workloads that need a person to decide.
	LeftOut []LeftOut
	// Notes are worth knowing.
	Notes []finding.Finding
}

// An Account is a service account to apply.
type Account struct {
	Namespace, Name string
	Identity        Identity
	// Object is the manifest.
	Object map[string]any
}

// An Identity is an AzureIdentity.
type Identity struct {
	// Name is that of the AzureIdentity, with its namespace.
	Name string
	// ClientID is a GUID, ResourceID the managed identity's; the latter is empty for
	// a service principal.
	ClientID, ResourceID string
	// TenantID is set for a service principal only.
	TenantID string
}

// A Workload is a workload to apply.
type Workload struct {
	Kind, Namespace, Name string
	// Account is the name of its service account, in the same namespace.
	Account  string
	Identity Identity
	// Replace is set for a kind whose pods can't be changed in place.
	Replace bool
	// Object is the manifest.
	Object map[string]any
}

// A LeftOut is a workload that is not written.
type LeftOut struct {
	Kind, Namespace, Name string
	Reason                finding.Finding
}

// Detect reads the cluster. The error tells what could not be read.
func Detect(ctx context.Context, c Config) (*Plan, error) {
	if c.ProxyPort == 0 {
		c.ProxyPort = contract.DefaultProxyPort
	}
	all, err := readIdentities(ctx, c.API, c.Namespace)
	if kube.IsNotFound(err) {
		return nil, finding.PodIdentityMissing().Err(err)
	}
	if err != nil {
		return nil, fmt.Errorf("read aad-pod-identity's objects: %w", err)
	}
	d := detection{config: c, identities: all, owners: map[string]owner{}, accounts: map[string]*Account{}, plan: &Plan{}}
	if err := d.findOwners(ctx); err != nil {
		return nil, err
	}
	for _, key := range slices.Sorted(maps.Keys(d.owners)) {
		if err := d.write(ctx, d.owners[key]); err != nil {
			return nil, err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(d.accounts)) {
		d.plan.Accounts = append(d.plan.Accounts, *d.accounts[key])
	}
	return d.plan, nil
}

// detection is one run of Detect.
type detection struct {
	config     Config
	identities identities
	owners     map[string]owner    // by namespace/kind/name
	accounts   map[string]*Account // by namespace/name
	plan       *Plan
}

// An owner is an object that makes pods and has no controller itself, or a pod.
type owner struct {
	kind            workload.Kind
	object          object
	namespace, name string
	selector        string // the label's value
}

func (o owner) String() string { return o.kind.Kind + " " + o.namespace + "/" + o.name }

func (d *detection) leaveOut(o owner, why finding.Finding) {
	d.plan.LeftOut = append(d.plan.LeftOut, LeftOut{o.kind.Kind, o.namespace, o.name, why})
}

func (d *detection) note(f finding.Finding) { d.plan.Notes = append(d.plan.Notes, f) }

// findOwners looks at all workloads, not only at pods: a CronJob between its runs
// and a Deployment without replicas have none. Pods come last, as their labels may
// have been put there without a template.
func (d *detection) findOwners(ctx context.Context) error {
	kinds := workload.Kinds()
	slices.SortStableFunc(kinds, func(a, b workload.Kind) int { return cmp.Compare(len(b.Template), len(a.Template)) })
	for _, kind := range kinds {
		if kind.Kind == "PodTemplate" {
			continue
		}
		all, selector := kube.Ref{APIVersion: kind.APIVersion(), Kind: kind.Kind, Namespace: d.config.Namespace}, ""
		if kind.Kind == "Pod" {
			selector = bindingLabel
		}
		var found []object
		err := list(ctx, d.config.API, all, selector, func(raw json.RawMessage) error {
			o, err := decode(raw)
			if err == nil && text(child(o, append(slices.Clone(kind.Template), "metadata", "labels")...), bindingLabel) != "" {
				found = append(found, o)
			}
			return err
		})
		if kube.IsForbidden(err) && kind.Kind != "Pod" {
			d.note(finding.WorkloadsNotListable(all.Plural(), err))
			continue
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", all.Plural(), err)
		}
		for _, o := range found {
			if err := d.climb(ctx, kind, o); err != nil {
				return err
			}
		}
	}
	return nil
}

// climb goes from an object up to what controls it in the end.
func (d *detection) climb(ctx context.Context, kind workload.Kind, o object) error {
	const highest = 8 // Kubernetes' own chains have at most two steps
	selector := text(child(o, append(slices.Clone(kind.Template), "metadata", "labels")...), bindingLabel)
	namespace := text(child(o, "metadata"), "namespace")
	for range highest {
		name := text(child(o, "metadata"), "name")
		ref := controller(o)
		key := namespace + "/" + kind.Kind + "/" + name
		if ref == nil {
			if _, known := d.owners[key]; !known {
				d.owners[key] = owner{kind, o, namespace, name, selector}
			}
			return nil
		}
		up, ok := workload.Find(text(ref, "apiVersion"), text(ref, "kind"))
		if !ok {
			d.foreign(namespace, ref, selector)
			return nil
		}
		if _, known := d.owners[namespace+"/"+up.Kind+"/"+text(ref, "name")]; known {
			return nil
		}
		if err := checkName(namespace, text(ref, "name")); err != nil {
			return err
		}
		var raw json.RawMessage
		err := d.config.API.Read(ctx, kube.Ref{APIVersion: up.APIVersion(), Kind: up.Kind, Namespace: namespace, Name: text(ref, "name")}, &raw)
		if kube.IsNotFound(err) {
			return nil // on its way out
		}
		if err != nil {
			return fmt.Errorf("read %s %s/%s: %w", up.Kind, namespace, text(ref, "name"), err)
		}
		if err = checkNames(raw); err == nil {
			o, err = decode(raw)
		}
		if err != nil {
			return fmt.Errorf("read %s %s/%s: %w", up.Kind, namespace, text(ref, "name"), err)
		}
		kind = up
		if s := text(child(o, append(slices.Clone(kind.Template), "metadata", "labels")...), bindingLabel); s != "" {
			selector = s
		}
	}
	return fmt.Errorf("%s %s/%s: more than %d owners, one above the other", kind.Kind, namespace, text(child(o, "metadata"), "name"), highest)
}

// foreign is for pods made by others' controllers.
func (d *detection) foreign(namespace string, ref object, selector string) {
	l := LeftOut{text(ref, "kind"), namespace, text(ref, "name"), finding.ControllerUnknown(bindingLabel + "=" + selector)}
	if !slices.Contains(d.plan.LeftOut, l) {
		d.plan.LeftOut = append(d.plan.LeftOut, l)
	}
}

func controller(o object) object {
	refs, _ := child(o, "metadata")["ownerReferences"].([]any)
	for _, r := range refs {
		if ref, _ := r.(object); ref["controller"] == true {
			return ref
		}
	}
	return nil
}

func text(o object, key string) string {
	s, _ := o[key].(string)
	return s
}

// write plans one workload and its service account.
func (d *detection) write(ctx context.Context, o owner) error {
	bound := d.identities.of(o.namespace, o.selector)
	if len(bound) == 0 {
		d.leaveOut(o, finding.NothingBound(bindingLabel+"="+o.selector))
		return nil
	}
	first := bound[0]
	identity := Identity{Name: first.name(), ClientID: first.Spec.ClientID}
	if first.Spec.Type == typeManaged {
		identity.ResourceID = first.Spec.ResourceID
	} else {
		identity.TenantID = first.Spec.TenantID
	}
	for _, other := range bound[1:] {
		d.note(finding.SeveralIdentities(o.String(), other.name(), other.Spec.ClientID))
	}
	account, err := d.account(ctx, o, identity)
	if err != nil || account == nil {
		return err
	}
	clean(o.kind, o.object)
	o.object["apiVersion"], o.object["kind"] = o.kind.APIVersion(), o.kind.Kind
	template := ensure(o.object, o.kind.Template...)
	ensure(template, "spec")["serviceAccountName"] = account.Name
	ensure(template, "metadata", "labels")[contract.UseLabel] = contract.UseLabelValue
	annotations := ensure(template, "metadata", "annotations")
	annotations[contract.InjectProxyAnnotation] = "true"
	if d.config.ProxyPort != contract.DefaultProxyPort {
		annotations[contract.ProxyPortAnnotation] = strconv.Itoa(d.config.ProxyPort)
	}
	if known := resourceIDs(bound); known != "" {
		annotations[contract.ProxyIdentitiesAnnotation] = known
	}
	denial, err := d.injectProxy(o, account)
	if err != nil {
		return err
	}
	if denial != nil {
		d.leaveOut(o, *denial)
		if !slices.ContainsFunc(d.plan.Workloads, func(w Workload) bool { return w.Namespace == account.Namespace && w.Account == account.Name }) {
			delete(d.accounts, account.Namespace+"/"+account.Name)
		}
		return nil
	}
	d.plan.Workloads = append(d.plan.Workloads, Workload{
		Kind: o.kind.Kind, Namespace: o.namespace, Name: o.name, Account: account.Name, Identity: identity,
		Replace: o.kind.Kind == "Pod" || o.kind.Kind == "Job", Object: o.object,
	})
	return nil
}

// resourceIDs lets applications go on to ask for their identity by its resource ID.
func resourceIDs(bound []azureIdentity) string {
	var pairs []string
	for _, i := range bound {
		pair := i.Spec.ResourceID + "=" + i.Spec.ClientID
		if _, _, err := identitymap.ParsePair(pair); err == nil && i.Spec.Type == typeManaged {
			pairs = append(pairs, pair)
		}
	}
	return strings.Join(pairs, ";")
}

// injectProxy checks the workload by injecting into it, and keeps of what that adds
// the proxy's containers with what they need. The rest is the webhook's to add: it
// knows the cluster's tenant and authority.
func (d *detection) injectProxy(o owner, account *Account) (denial *finding.Finding, err error) {
	pod, ok := o.kind.Pod(o.object)
	if !ok {
		return new(finding.NoPodTemplate()), nil
	}
	parsed, err := inject.Parse(pod)
	if err != nil {
		return new(finding.Unreadable(err)), nil
	}
	result := parsed.Inject(inject.Account{
		Namespace: account.Namespace, Name: account.Name,
		Annotations: map[string]string{contract.ClientIDAnnotation: account.Identity.ClientID},
	}, d.config.Settings)
	if result.Denial != nil {
		return result.Denial, nil
	}
	for _, w := range result.Warnings {
		d.note(finding.OfWorkload(o.String(), w))
	}
	if !d.config.ProxyContainers {
		return nil, nil
	}
	patched, err := proxyOnly(pod, result.Patch)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o, err)
	}
	ensure(o.object, o.kind.Template...)["spec"] = patched["spec"]
	return nil, nil
}

// proxyOnly applies what concerns the proxy: its containers and all volumes.
func proxyOnly(pod []byte, ops []inject.Op) (object, error) {
	ops = slices.DeleteFunc(slices.Clone(ops), func(op inject.Op) bool {
		return strings.HasSuffix(op.Path, "/env") || strings.Contains(op.Path, "/env/") ||
			strings.HasSuffix(op.Path, "/volumeMounts") || strings.Contains(op.Path, "/volumeMounts/")
	})
	raw, err := json.Marshal(ops)
	if err != nil {
		return nil, err
	}
	patch, err := jsonpatch.DecodePatch(raw)
	if err != nil {
		return nil, err
	}
	if len(ops) > 0 {
		if pod, err = patch.Apply(pod); err != nil {
			return nil, err
		}
	}
	patched, err := decode(pod)
	if err != nil {
		return nil, err
	}
	for _, list := range []string{"initContainers", "containers"} {
		containers, _ := child(patched, "spec")[list].([]any)
		for _, c := range containers {
			container, _ := c.(object)
			if env, ok := container["env"].([]any); ok && text(container, "name") == contract.ProxyContainer {
				container["env"] = slices.DeleteFunc(env, func(e any) bool {
					v, _ := e.(object)
					return slices.Contains([]string{contract.EnvClientID, contract.EnvTenantID, contract.EnvFederatedTokenFile, contract.EnvAuthorityHost}, text(v, "name"))
				})
				if len(container["env"].([]any)) == 0 {
					delete(container, "env")
				}
			}
		}
	}
	return patched, nil
}

// account plans the workload's service account: its own one, or, since annotations
// on the account default would give every pod of the namespace the identity, a new
// one. Nil: the workload was left out.
func (d *detection) account(ctx context.Context, o owner, identity Identity) (*Account, error) {
	spec := child(o.object, append(slices.Clone(o.kind.Template), "spec")...)
	name := cmp.Or(text(spec, "serviceAccountName"), text(spec, "serviceAccount"), "default")
	if err := checkName(o.namespace, name); err != nil {
		return nil, err
	}
	live, err := d.liveAccount(ctx, o.namespace, name)
	if err != nil {
		return nil, err
	}
	if name != "default" {
		return d.plannedAccount(o, name, live, identity), nil
	}
	for _, candidate := range []string{o.name, o.name + "-" + strings.ToLower(o.kind.Kind)} {
		planned, taken := d.accounts[o.namespace+"/"+candidate]
		if taken && planned.Identity.ClientID == identity.ClientID {
			return planned, nil
		}
		if taken || len(candidate) > 253 {
			continue
		}
		there, err := d.liveAccount(ctx, o.namespace, candidate)
		if err != nil {
			return nil, err
		}
		if there != nil && text(child(there, "metadata", "annotations"), contract.ClientIDAnnotation) != identity.ClientID {
			continue // somebody's account: its permissions are not this workload's
		}
		if there == nil {
			there = object{"metadata": object{"name": candidate, "namespace": o.namespace}}
			for _, key := range []string{"imagePullSecrets", "automountServiceAccountToken"} {
				if value, ok := live[key]; ok {
					there[key] = value // what its pods had from the account default
				}
			}
		}
		return d.plannedAccount(o, candidate, there, identity), nil
	}
	d.leaveOut(o, finding.AccountNamesTaken())
	return nil, nil
}

func (d *detection) liveAccount(ctx context.Context, namespace, name string) (object, error) {
	var raw json.RawMessage
	err := d.config.API.Read(ctx, kube.AccountRef(namespace, name), &raw)
	if kube.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read service account %s/%s: %w", namespace, name, err)
	}
	live, err := decode(raw)
	if m := child(live, "metadata"); err == nil && (text(m, "namespace") != namespace || text(m, "name") != name) {
		err = kube.ErrOther
	}
	if err != nil {
		return nil, fmt.Errorf("read service account %s/%s: %w", namespace, name, err)
	}
	return live, nil
}

// plannedAccount annotates a service account. Two identities can't share one.
func (d *detection) plannedAccount(o owner, name string, live object, identity Identity) *Account {
	key := o.namespace + "/" + name
	if planned, ok := d.accounts[key]; ok {
		if planned.Identity.ClientID != identity.ClientID {
			d.leaveOut(o, finding.AccountShared(name, planned.Identity.ClientID, identity.ClientID))
			return nil
		}
		return planned
	}
	if live == nil {
		live = object{"metadata": object{"name": name, "namespace": o.namespace}}
	}
	had := text(child(live, "metadata", "annotations"), contract.ClientIDAnnotation)
	if had != "" && had != identity.ClientID {
		d.leaveOut(o, finding.AccountOfOther(name, had, identity.Name, identity.ClientID))
		return nil
	}
	cleanMetadata(child(live, "metadata"))
	prune(live)
	live["apiVersion"], live["kind"] = "v1", "ServiceAccount"
	annotations := ensure(live, "metadata", "annotations")
	annotations[contract.ClientIDAnnotation] = identity.ClientID
	if tenant := cmp.Or(d.config.TenantID, identity.TenantID); tenant != "" {
		annotations[contract.TenantIDAnnotation] = tenant
	}
	if d.config.TokenExpiration != 0 {
		annotations[contract.TokenExpirationAnnotation] = strconv.FormatInt(d.config.TokenExpiration, 10)
	}
	planned := &Account{Namespace: o.namespace, Name: name, Identity: identity, Object: live}
	d.accounts[key] = planned
	return planned
}
