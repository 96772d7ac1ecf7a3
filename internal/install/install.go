package install

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"azwi/internal/finding"
	"azwi/internal/kube"
)

// Engine names.
const (
	EngineAuto    = "auto"
	EngineWebhook = "webhook"
	EnginePolicy  = "policy"
)

// firstWithPolicies is the minor version of Kubernetes that has
// MutatingAdmissionPolicy in its stable form.
const firstWithPolicies = 36

// oldest is the oldest minor version that the chart is for: its kubeVersion.
const oldest = 29

// Config says what to install.
type Config struct {
	Client *kube.Client
	// Version is the images'. Required.
	Version string
	// Namespace to install into. Default: where it is installed already, else
	// DefaultNamespace.
	Namespace string
	// Engine is webhook, policy, or auto: policy where the API server has it, else
	// webhook. Default: that of Values or of the installation, else webhook.
	Engine string
	// Values of the chart. An upgrade adds them to those of the installation.
	Values map[string]any
	// ResetValues forgets those of the installation.
	ResetValues bool
	// TakeOver an installation of Helm's or of applied manifests.
	TakeOver bool
	// NoWait ends as soon as everything is applied, without a proof that it works.
	// Engines can't be switched so.
	NoWait bool
	// Timeout bounds the waiting. Default: 3 minutes.
	Timeout time.Duration
	// ProbeNamespace is where pods are admitted, without being kept, to see whether
	// they are injected. Default: Namespace.
	ProbeNamespace string
	// Report is told what is being done, a line each. Optional.
	Report func(line string)

	// render is for tests. Default: Render.
	render func(context.Context, Release) ([]Object, string, error)
}

// A plan is what is to be done.
type plan struct {
	cluster   *cluster
	config    Config
	found     *Installation // may be nil
	namespace string
	probe     string // the namespace of probes
	release   string
	values    map[string]any
	engine    string
	objects   []Object // the namespace and the probe's account too
	notes     string
	tenant    string
}

// Result is what an installation came to.
type Result struct {
	Namespace, Engine, Version, Notes string
}

// Objects renders what would be applied, and applies nothing.
func Objects(ctx context.Context, c Config, upgrade bool) ([]Object, error) {
	p, err := newPlan(ctx, c, upgrade)
	if err != nil {
		return nil, err
	}
	return p.objects, nil
}

// Install installs, or with upgrade changes what is installed. An error that is
// finding.CodeTimedOut means that everything was applied but does not work (yet).
func Install(ctx context.Context, c Config, upgrade bool) (*Result, error) {
	p, err := newPlan(ctx, c, upgrade)
	if err != nil {
		return nil, err
	}
	if err := p.apply(ctx); err != nil {
		return nil, err
	}
	return &Result{Namespace: p.namespace, Engine: p.engine, Version: c.Version, Notes: p.notes}, nil
}

func newPlan(ctx context.Context, c Config, upgrade bool) (*plan, error) {
	report, reported := c.Report, map[string]bool{}
	c.Report = func(line string) {
		if report != nil && !reported[line] {
			reported[line] = true // a switch of engines applies some objects twice
			report(line)
		}
	}
	if c.Timeout <= 0 {
		c.Timeout = 3 * time.Minute
	}
	cluster, err := connect(ctx, c.Client)
	if err != nil {
		return nil, err
	}
	p := &plan{cluster: cluster, config: c, values: map[string]any{}}
	if p.found, err = cluster.discover(ctx); err != nil {
		return nil, err
	}
	if err := p.allowed(upgrade); err != nil {
		return nil, err
	}
	if err := p.place(); err != nil {
		return nil, err
	}
	if err := p.chooseEngine(); err != nil {
		return nil, err
	}
	if err := p.serves(ctx); err != nil {
		return nil, err
	}
	return p, p.render(ctx)
}

// allowed refuses to touch what is not ours, and tells how it can be had.
func (p *plan) allowed(upgrade bool) error {
	switch f := p.found; {
	case f == nil && upgrade:
		return finding.NothingToUpgrade().Err(nil)
	case f == nil:
		return nil
	case f.Owner == OwnerAKS:
		return finding.InstalledByAKS().Err(nil)
	case f.Owner == OwnerAzwi && !upgrade && f.record.Complete:
		return finding.Installed(f.record.Version, f.Engine, f.Namespace).Err(nil)
	case f.Owner == OwnerAzwi || p.config.TakeOver:
		return nil
	case f.Owner == OwnerHelm:
		return finding.InstalledByHelm(f.Release, f.Namespace, verb(upgrade)).Err(nil)
	}
	return finding.InstalledByOthers(p.found.String(), verb(upgrade)).Err(nil)
}

func verb(upgrade bool) string {
	if upgrade {
		return "upgrade"
	}
	return "install"
}

// place decides on namespace, release and values.
func (p *plan) place() error {
	p.namespace, p.release = cmp.Or(p.config.Namespace, DefaultNamespace), DefaultRelease
	if f := p.found; f != nil {
		if p.config.Namespace != "" && p.config.Namespace != f.Namespace {
			return finding.InstalledElsewhere(f.Namespace, p.config.Namespace).Err(nil)
		}
		p.namespace, p.release = f.Namespace, cmp.Or(f.Release, DefaultRelease)
		if r := f.record; r != nil && r.Phase == PhaseTrial {
			p.values = r.TargetValues // what was begun goes on, unless told otherwise
		} else if r != nil {
			p.values = r.Values
		}
		if r := f.record; r != nil && !r.Complete {
			p.probe = r.probeNamespace()
		}
	}
	p.values = p.given(p.values)
	p.probe = cmp.Or(p.config.ProbeNamespace, p.probe, p.namespace)
	return nil
}

// given returns an installation's values with those that were given.
func (p *plan) given(base map[string]any) map[string]any {
	if p.config.ResetValues {
		base = nil
	}
	// So that the objects' names and labels stay.
	if f := p.found; f != nil && f.name != "" && f.name != "workload-identity-webhook" {
		base = Merge(base, map[string]any{"nameOverride": f.name})
	}
	return Merge(base, p.config.Values)
}

// Merge returns base with the members of over, deeply.
func Merge(base, over map[string]any) map[string]any {
	merged := maps.Clone(base)
	if merged == nil {
		merged = map[string]any{}
	}
	for key, value := range over {
		if inner, ok := value.(map[string]any); ok {
			if have, ok := merged[key].(map[string]any); ok {
				value = Merge(have, inner)
			}
		}
		merged[key] = value
	}
	return merged
}

func (p *plan) chooseEngine() error {
	have, _ := p.values["engine"].(string)
	minor, err := minor(p.cluster.version)
	if err != nil {
		return err
	}
	switch p.config.Engine {
	case "":
		p.engine = cmp.Or(have, EngineWebhook)
		if have == "" && p.found != nil && p.found.Engine != "" {
			p.engine = p.found.Engine
		}
	case EngineAuto:
		p.engine = EngineWebhook
		if minor >= firstWithPolicies {
			p.engine = EnginePolicy
		}
	default:
		p.engine = p.config.Engine
	}
	if minor < oldest {
		return finding.KubernetesTooOld(oldest, p.cluster.version).Err(nil)
	}
	if p.engine == EnginePolicy && minor < firstWithPolicies {
		return finding.NoPolicies(firstWithPolicies, p.cluster.version).Err(nil)
	}
	phase := Phase("")
	if f := p.found; f != nil && f.record != nil {
		phase = f.record.Phase
		if phase == PhaseTrial && p.engine == f.record.Serving {
			p.values = p.given(f.record.Values) // back to where it was
		}
	}
	p.values = Merge(p.values, map[string]any{"engine": p.engine})
	switch {
	case !p.config.NoWait:
	case p.switches():
		return finding.SwitchNeedsWait(p.found.Engine, p.engine).Err(nil)
	case phase == PhaseTrial || phase == PhaseRemoval:
		return finding.UnfinishedSwitchNeedsWait().Err(nil)
	}
	return nil
}

// serves drops the serving engine from the plan if somebody has removed it: then
// there is nothing to keep alive during a trial.
func (p *plan) serves(ctx context.Context) error {
	if !p.switches() || p.found.record == nil {
		return nil
	}
	there, err := p.cluster.registered(ctx, p.found.Engine, p.found.record.Objects)
	if err == nil && !there {
		p.found.Engine = ""
	}
	return err
}

func (p *plan) switches() bool {
	return p.found != nil && p.found.Engine != "" && p.found.Engine != p.engine
}

func (p *plan) render(ctx context.Context) error {
	render := p.config.render
	if render == nil {
		render = Render
	}
	objects, notes, err := render(ctx, Release{
		Name: p.release, Namespace: p.namespace, Values: p.values, Version: p.config.Version,
		Kubernetes: p.cluster.version, APIVersions: p.cluster.apiVersions,
	})
	if err != nil {
		return err
	}
	for _, o := range objects {
		if group := o.text("apiVersion"); !p.cluster.has(group) {
			return finding.APIMissing(o.Ref(), group).Err(nil)
		}
	}
	selection, err := p.cluster.selection(ctx, p.namespace)
	if err != nil {
		return err
	}
	if selection != nil {
		if objects, err = selection.apply(objects); err != nil {
			return err
		}
	}
	p.objects = p.withOwn(objects)
	p.notes = notes
	p.tenant, _ = p.values["azureTenantID"].(string)
	return nil
}

// withOwn adds what is not of the chart: the namespace, and the account of probes.
func (p *plan) withOwn(objects []Object) []Object {
	hostNetwork, _ := p.values["hostNetwork"].(bool)
	return slices.Concat([]Object{NewNamespace(p.namespace, hostNetwork), newProbeAccount(p.probe)}, objects)
}

// apply brings the cluster to the plan's objects, and removes what was installed
// and is no longer wanted once the rest is seen to work. It can be ended anywhere:
// docs/decisions/2026-11-27-engine-switch.md. A take-over that fails is undone.
func (p *plan) apply(ctx context.Context) error {
	if err := p.rehearse(ctx); err != nil {
		return err
	}
	former, err := p.former(ctx)
	if err != nil {
		return err
	}
	r, err := p.change(ctx)
	if err == nil {
		return p.finish(ctx, r)
	}
	// What failed may have failed since another run has begun; then all is that one's.
	if theirs := p.cluster.stillOurs(context.WithoutCancel(ctx)); errors.Is(theirs, finding.CodeOtherRun) {
		return theirs
	}
	if errors.Is(err, finding.CodeOtherRun) {
		return err
	}
	return p.putBack(ctx, former, err)
}

// change applies everything and sees it work. It removes nothing.
func (p *plan) change(ctx context.Context) (*record, error) {
	r, err := p.begin(ctx)
	if err != nil {
		return nil, err
	}
	if p.switches() {
		if err := p.try(ctx); err != nil {
			return nil, err
		}
	}
	for _, o := range p.objects[1:] {
		widened, err := p.widened(ctx, o)
		if err != nil {
			return nil, err
		}
		if err := p.applyObject(ctx, widened); err != nil {
			return nil, err
		}
	}
	if p.switches() {
		if err := settle(ctx); err != nil {
			return nil, err
		}
		p.served(r)
		r.Phase = PhaseRemoval
		if err := p.cluster.writeRecord(ctx, r); err != nil {
			return nil, fmt.Errorf("record that the %s serves: %w", p.engine, err)
		}
	}
	if err := p.confine(ctx, r); err != nil {
		return nil, err
	}
	if p.config.NoWait {
		return r, nil
	}
	waiting, cancel := context.WithTimeout(ctx, p.config.Timeout)
	defer cancel()
	return r, p.prove(waiting, false)
}

// finish removes what is no longer wanted: rights, objects, Helm's record.
func (p *plan) finish(ctx context.Context, r *record) error {
	if err := p.narrow(ctx); err != nil {
		return err
	}
	if err := p.prune(ctx, r.Objects); err != nil {
		return err
	}
	if r.TakeOver != nil {
		if err := p.cluster.forgetRelease(ctx, r); err != nil {
			return err
		}
		if r.TakeOver.Owner == OwnerHelm {
			p.config.Report("removed Helm's record of release " + r.Release)
		}
	}
	r.Objects, r.Phase, r.TakeOver, r.Complete, r.Run = refs(p.objects), "", nil, true, ""
	if err := p.cluster.writeRecord(ctx, r); err != nil {
		return fmt.Errorf("record what is installed: %w", err)
	}
	return nil
}

// begin writes down what is about to be done, and takes over what is another's.
func (p *plan) begin(ctx context.Context) (*record, error) {
	r, err := p.before(ctx)
	if err != nil {
		return nil, err
	}
	if r.older {
		if err := p.cluster.include(ctx, registrations(r.Serving), r.probeNamespace()); err != nil {
			return nil, fmt.Errorf("let the %s back into the namespace of the probes: %w", r.Serving, err)
		}
	}
	foreign := r.Objects
	r.Objects, r.Complete, r.Run = union(refs(p.objects), r.Objects), false, rand.Text()
	switch {
	case p.switches():
		r.Target, r.TargetValues, r.Phase = p.engine, p.values, PhaseTrial
	default:
		p.served(r)
		if slices.ContainsFunc(registrations(other(p.engine)), func(ref kube.Ref) bool { return slices.Contains(r.Objects, ref) }) {
			r.Phase = PhaseRemoval
		}
	}
	if err := p.applyObject(ctx, p.ownNamespace(r)); err != nil {
		return nil, err
	}
	if f := p.found; f != nil && f.Owner != OwnerAzwi {
		r.TakeOver = &takenOver{f.Owner, foreign}
		p.config.Report("taking over " + f.String())
	}
	if err := p.cluster.writeRecord(ctx, r); err != nil {
		return nil, fmt.Errorf("record what is being installed: %w", err)
	}
	if r.TakeOver == nil {
		return r, nil
	}
	return r, p.cluster.takeOver(ctx, r)
}

// ownNamespace is marked if azwi made it, or will.
func (p *plan) ownNamespace(r *record) Object {
	if r.CreatedNamespace {
		return with(p.objects[0], "true", "metadata", "annotations", createdAnnotation)
	}
	return p.objects[0]
}

// served makes the plan what the record says to serve.
func (p *plan) served(r *record) {
	r.Version, r.Engine, r.Serving, r.Values = p.config.Version, p.engine, p.engine, p.values
	r.Target, r.TargetValues, r.Phase = "", nil, ""
}

// confine leaves to an engine that is about to be removed the trial pods alone, so
// that the serving one is proven without it.
func (p *plan) confine(ctx context.Context, r *record) error {
	if r.Phase != PhaseRemoval {
		return nil
	}
	if err := p.cluster.mark(ctx, registrations(other(p.engine)), "Exists"); err != nil {
		return fmt.Errorf("leave trial pods to the %s: %w", other(p.engine), err)
	}
	return settle(ctx)
}

// createdAnnotation is on a namespace that azwi made, until uninstall removes it.
const createdAnnotation = "azure-workload-identity.io/created"

// before returns what the record says, or would say, of what is there.
func (p *plan) before(ctx context.Context) (*record, error) {
	if p.found != nil && p.found.record != nil {
		r := *p.found.record
		return &r, nil
	}
	r := &record{Version: p.config.Version, Release: p.release, namespace: p.namespace}
	if f := p.found; f != nil {
		r.Engine, r.Serving, r.Values = f.Engine, f.Engine, Merge(p.values, map[string]any{"engine": f.Engine})
		var err error
		if r.Objects, err = p.cluster.foreign(ctx, f); err != nil {
			return nil, err
		}
	}
	namespace, err := p.cluster.find(ctx, p.objects[0].Ref())
	r.CreatedNamespace = namespace == nil || namespace.annotation(createdAnnotation) != ""
	return r, err
}

func (p *plan) applyObject(ctx context.Context, o Object) error {
	warnings, err := p.cluster.Do(ctx, kube.Apply(o.Ref(), manager, o), nil)
	if err != nil {
		return fmt.Errorf("apply %s: %w", o.Ref(), err)
	}
	p.config.Report("applied " + o.Ref().String())
	for _, w := range warnings {
		p.config.Report("warning: " + w)
	}
	return nil
}

// prove waits until a pod, or a trial pod, is injected as it should be.
func (p *plan) prove(ctx context.Context, trial bool) error {
	for _, o := range p.objects {
		if o.Kind() == "Deployment" {
			p.config.Report("waiting until the webhook's pods are ready")
			if err := p.cluster.waitReady(ctx, p.namespace); err != nil {
				return err
			}
		}
	}
	p.config.Report("waiting until a pod is injected (dry run, in namespace " + p.probe + ")")
	return p.cluster.waitInjected(ctx, p.probe, p.tenant, trial)
}

// prune removes what is not wanted any more, what calls others first.
func (p *plan) prune(ctx context.Context, old []kube.Ref) error {
	for _, ref := range p.unwanted(old) {
		removed, err := p.cluster.Delete(ctx, ref, false)
		if err != nil {
			return fmt.Errorf("remove %s: %w", ref, err)
		}
		if removed {
			p.config.Report("removed " + ref.String())
		}
	}
	return nil
}

// unwanted are those of what was applied that are to be removed, in that order.
func (p *plan) unwanted(old []kube.Ref) []kube.Ref {
	wanted := refs(p.objects)
	unwanted := slices.DeleteFunc(slices.Clone(old), func(ref kube.Ref) bool { return slices.Contains(wanted, ref) || ref.Kind == "Namespace" })
	slices.Reverse(unwanted)
	return unwanted
}

func refs(objects []Object) []kube.Ref {
	all := make([]kube.Ref, len(objects))
	for i, o := range objects {
		all[i] = o.Ref()
	}
	return all
}

// union appends to a what only b has.
func union(a, b []kube.Ref) []kube.Ref {
	for _, ref := range b {
		if !slices.Contains(a, ref) {
			a = append(a, ref)
		}
	}
	return a
}
