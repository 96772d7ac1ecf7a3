package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/install"
	"azwi/internal/kube"
	"azwi/internal/pod/lint"
	"azwi/internal/pod/manifest"
	"azwi/internal/pod/workload"
)

// mistakes has package lint look at the live objects, as if they were in a file. What the API
// server and kubectl add to objects is not the author's.
func (s *subject) mistakes() []lint.Finding {
	var files []*manifest.File
	for _, o := range []object{s.object, s.raw} {
		if o == nil {
			continue
		}
		if s.named.Kind == "Pod" && o["kind"] == "Pod" { // without what injection added
			o = object{"apiVersion": o["apiVersion"], "kind": o["kind"], "metadata": s.template["metadata"], "spec": s.template["spec"]}
		}
		if raw, err := json.Marshal(authored(o)); err == nil {
			files = append(files, manifest.Parse("cluster.json", raw))
		}
	}
	found := lint.Lint(files, lint.Config{Namespace: s.namespace, Quiet: true})
	return slices.DeleteFunc(found, func(f lint.Finding) bool { return f.Severity == finding.Info })
}

// authored is what the author wrote of an object, without what others noted in it.
func authored(o object) object {
	written := object{"apiVersion": o["apiVersion"], "kind": o["kind"]}
	if spec := o["spec"]; spec != nil {
		written["spec"] = spec
	}
	if metadata, ok := o["metadata"].(object); ok {
		metadata = maps.Clone(metadata)
		delete(metadata, "managedFields")
		if annotations, ok := metadata["annotations"].(object); ok {
			annotations = maps.Clone(annotations)
			delete(annotations, lastApplied)
			metadata["annotations"] = annotations
		}
		written["metadata"] = metadata
	}
	return written
}

// lastApplied is where kubectl keeps what was applied.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

func withoutLastApplied(annotations map[string]string) map[string]string {
	kept := maps.Clone(annotations)
	delete(kept, lastApplied)
	return kept
}

// workload looks at what the author wrote: label, annotations and environment.
func (x *examination) workload(_ context.Context, l *Link) {
	s := x.subject
	if s.object == nil {
		l.see("%s, running pods: %d", s.named, len(s.pods))
		return
	}
	l.see("%s, service account %s, running pods: %d", s.named, s.account, len(s.pods))
	clientID := s.accountObject.Metadata.Annotations[contract.ClientIDAnnotation]
	for _, f := range s.lint {
		if f.Kind != "ServiceAccount" && f.Code() != finding.CodeLabelMissing && f.Code() != finding.CodeClientIDMissing {
			l.because(f.Finding)
		}
	}
	if !s.pod.OptsIn() && !l.has(finding.CodeLabelNotOnPod, finding.CodeLabelValue, finding.CodeNearMissKey, finding.CodeMisplacedKey) {
		l.because(finding.OptInMissing(s.named, s.account, clientID != ""))
		l.State = Wrong
	}
}

// installation looks at who injects, and how it is.
func (x *examination) installation(ctx context.Context, l *Link) {
	status, err := install.ReadServing(ctx, x.Cluster, x.Now())
	switch {
	case err != nil:
		l.unknown(err)
		return
	case status == nil:
		l.because(finding.NothingInstalled())
		return
	}
	if status.Owner != install.OwnerUnknown {
		l.see("%s%s, installed by %s, in namespace %s", cmp.Or(status.Engine, "an unknown engine"), version(status.Version), status.Owner, status.Namespace)
	}
	for _, f := range status.Problems {
		l.because(f)
	}
	for _, f := range status.Unknown {
		l.see("%s", f.Text())
	}
	if status.Unread {
		l.Denied = true
		if l.State == "" {
			l.State = Unknown
		}
	}
	registrations, err := x.registrations(ctx)
	if err != nil {
		return // injection says what comes of it
	}
	var names []string
	for _, r := range registrations {
		names = append(names, r.String())
		if r.unbound {
			l.because(finding.PolicyNotBound(r.Name))
		}
	}
	if len(names) > 1 {
		l.because(finding.TwoInstallations(names))
	}
}

func version(v string) string {
	if v == "" {
		return ""
	}
	return " " + v
}

// A registration is how the API server asks an engine of workload identity.
type registration struct {
	kube.Ref
	namespaces metav1.LabelSelector
	// ignores says that pods are admitted without it.
	ignores bool
	// unbound is a policy without a binding.
	unbound bool
}

// registrations are the webhooks and policies that pods with our label go to. A webhook and
// a policy beside each other are on purpose while engines are switched.
func (x *examination) registrations(ctx context.Context) ([]registration, error) {
	var all []registration
	webhooks := kube.Ref{APIVersion: "admissionregistration.k8s.io/v1", Kind: "MutatingWebhookConfiguration"}
	err := x.Cluster.List(ctx, webhooks, "", func(raw json.RawMessage) error {
		var o struct {
			Metadata struct{ Name string }
			Webhooks []struct {
				NamespaceSelector, ObjectSelector metav1.LabelSelector
				FailurePolicy                     string
			}
		}
		if err := json.Unmarshal(raw, &o); err != nil {
			return err
		}
		for _, w := range o.Webhooks {
			if w.ObjectSelector.MatchLabels[contract.UseLabel] == contract.UseLabelValue {
				ref := webhooks
				ref.Name = o.Metadata.Name
				all = append(all, registration{Ref: ref, namespaces: w.NamespaceSelector, ignores: w.FailurePolicy == "Ignore"})
				break
			}
		}
		return nil
	})
	if err != nil || len(all) > 0 {
		return all, err
	}
	return x.policies(ctx)
}

// policies are the mutating policies that inject. Before 1.36 there is no such kind.
func (x *examination) policies(ctx context.Context) ([]registration, error) {
	var all []registration
	const version = "admissionregistration.k8s.io/v1"
	policies, bindings := kube.Ref{APIVersion: version, Kind: "MutatingAdmissionPolicy"}, kube.Ref{APIVersion: version, Kind: "MutatingAdmissionPolicyBinding"}
	bound := map[string]bool{}
	err := x.Cluster.List(ctx, bindings, "", func(raw json.RawMessage) error {
		var o struct{ Spec struct{ PolicyName string } }
		err := json.Unmarshal(raw, &o)
		bound[o.Spec.PolicyName] = true
		return err
	})
	if kube.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	err = x.Cluster.List(ctx, policies, "", func(raw json.RawMessage) error {
		var o struct {
			Metadata struct{ Name string }
			Spec     struct {
				MatchConstraints struct{ NamespaceSelector, ObjectSelector metav1.LabelSelector }
			}
		}
		if err := json.Unmarshal(raw, &o); err != nil {
			return err
		}
		if o.Spec.MatchConstraints.ObjectSelector.MatchLabels[contract.UseLabel] == contract.UseLabelValue {
			ref := policies
			ref.Name = o.Metadata.Name
			all = append(all, registration{Ref: ref, namespaces: o.Spec.MatchConstraints.NamespaceSelector, unbound: !bound[ref.Name]})
		}
		return nil
	})
	return all, err
}

// injection has the API server admit a pod of the template, without keeping it, and
// compares the running pods with it.
func (x *examination) injection(ctx context.Context, l *Link) {
	s := x.subject
	allowed, err := x.Cluster.May(ctx, "create", "pods", s.namespace)
	switch {
	case err != nil:
		l.unknown(err)
	case !allowed:
		l.unknown(finding.PodsNotCreatable(s.namespace).Err(nil))
	default:
		x.tryPod(ctx, l)
	}
	x.comparePods(l)
	if i := slices.IndexFunc(s.pods, func(p workload.Running) bool { return p.Spec.Injected() }); x.expected == nil && i >= 0 {
		p := s.pods[i]
		x.clientID, x.tenantID = p.Spec.Env(contract.EnvClientID), p.Spec.Env(contract.EnvTenantID)
		l.see("pod %s has %s=%s, %s=%s", p.Metadata.Name, contract.EnvClientID, x.clientID, contract.EnvTenantID, x.tenantID)
	}
}

// tryPod creates a pod in a dry run.
func (x *examination) tryPod(ctx context.Context, l *Link) {
	s := x.subject
	created, err := x.create(ctx, s.probe())
	if err != nil {
		_, answered := errors.AsType[*kube.StatusError](err)
		switch {
		case !answered:
			l.unknown(err)
		case x.wrong(LinkInstallation, LinkWorkload) || s.accountErr != nil || s.accountWrong():
			notReached(l, x.firstWrong())
			l.see("a new pod is refused: %s", oneLine(err))
		default:
			l.because(finding.PodRefused(s.namespace, err))
		}
		return
	}
	if !created.Spec.Injected() {
		x.notInjected(ctx, l)
		return
	}
	x.expected = &created
	x.clientID, x.tenantID = created.Spec.Env(contract.EnvClientID), created.Spec.Env(contract.EnvTenantID)
	l.see("a new pod gets %s=%s, %s=%s", contract.EnvClientID, x.clientID, contract.EnvTenantID, x.tenantID)
	x.compareContainers(l, created)
}

// create has the API server admit a pod, without keeping it.
func (x *examination) create(ctx context.Context, pod object) (created workload.Running, err error) {
	_, err = x.Cluster.Do(ctx, kube.Request{
		Method: http.MethodPost, Ref: kube.Ref{APIVersion: "v1", Kind: "Pod", Namespace: x.subject.namespace}, DryRun: true, Body: pod,
	}, &created)
	return created, err
}

// answers reports whether even the smallest pod is injected. The API server does not say
// whether a webhook that it may do without was asked.
func (x *examination) answers(ctx context.Context) bool {
	created, err := x.create(ctx, x.subject.smallest())
	return err != nil || created.Spec.Injected()
}

// accountWrong reports whether what is written in the service account is wrong.
func (s *subject) accountWrong() bool {
	return slices.ContainsFunc(s.lint, func(f lint.Finding) bool { return f.Kind == "ServiceAccount" && f.Severity == finding.Error })
}

// firstWrong is the first link that is broken so far.
func (x *examination) firstWrong() LinkName {
	for _, l := range x.report.Links {
		if l.State == Wrong {
			return l.Name
		}
	}
	return LinkAccount
}

// notInjected says why a pod was admitted as it is.
func (x *examination) notInjected(ctx context.Context, l *Link) {
	s := x.subject
	if x.wrong(LinkWorkload, LinkInstallation) {
		notReached(l, x.firstWrong())
		return
	}
	registrations, err := x.registrations(ctx)
	if err != nil || len(registrations) == 0 {
		l.because(finding.PodNotInjected(s.namespace))
		return
	}
	r := registrations[0]
	var namespace struct {
		Metadata struct{ Labels map[string]string }
	}
	if err := x.Cluster.Read(ctx, kube.Ref{APIVersion: "v1", Kind: "Namespace", Name: s.namespace}, &namespace); err != nil {
		l.because(finding.PodNotInjected(s.namespace))
		l.see("%s", oneLine(err))
		return
	}
	selector, err := metav1.LabelSelectorAsSelector(&r.namespaces)
	if err == nil && !selector.Matches(labels.Set(namespace.Metadata.Labels)) {
		l.because(finding.NamespaceExcluded(s.namespace, r.String(), selector.String()))
		return
	}
	if r.ignores && !x.answers(ctx) {
		l.because(finding.WebhookSilent(r.String()))
		return
	}
	l.because(finding.PodExcluded(r.String()))
}

// compareContainers looks for containers that keep injection out.
func (x *examination) compareContainers(l *Link, created workload.Running) {
	skipped := strings.FieldsFunc(created.Metadata.Annotations[contract.SkipContainersAnnotation], func(r rune) bool { return r == ';' || r == ' ' })
	annotated := x.subject.accountObject.Metadata.Annotations[contract.ClientIDAnnotation]
	without := map[string]map[string]string{}
	for _, c := range x.subject.pod.Spec.All() {
		own := map[string]string{}
		for _, e := range c.Env {
			own[e.Name] = e.Value
		}
		without[c.Name] = own
	}
	for _, c := range created.Spec.All() {
		if c.Name == contract.ProxyContainer || c.Name == contract.ProxyInitContainer {
			continue
		}
		if slices.Contains(skipped, c.Name) {
			l.because(finding.ContainerSkipped(c.Name))
			continue
		}
		own := without[c.Name]
		if id := own[contract.EnvClientID]; id != "" && annotated != "" && !strings.EqualFold(id, annotated) {
			l.because(finding.OtherClientID(c.Name, id, annotated))
		}
		if host := own[contract.EnvAuthorityHost]; host != "" && strings.TrimSuffix(host, "/") != strings.TrimSuffix(x.Cloud.AuthorityHost, "/") {
			l.because(finding.OwnAuthority(c.Name, host, x.Cloud.AuthorityHost))
		}
	}
}

// comparePods looks at what the running pods have.
func (x *examination) comparePods(l *Link) {
	s := x.subject
	if former := s.former(); former > 0 {
		l.see("the rollout goes on: %d of its pods are of an earlier template, and end with it", former)
		return
	}
	stale, missing := 0, 0
	for _, p := range s.pods {
		switch {
		case !p.Spec.Injected():
			// If a new pod gets no identity either, the cause has been found.
			if x.expected != nil || l.State == Unknown && p.OptsIn() {
				if missing++; missing == 1 {
					l.because(finding.OptInTooLate(s.named, p.Metadata.Name))
				}
			}
		case x.expected != nil:
			if variable, value, now := x.differs(p); variable != "" {
				if stale++; stale == 1 {
					l.because(finding.StaleIdentity(s.named, p.Metadata.Name, variable, value, now))
				}
			}
		}
	}
	if more := stale + missing; more > 1 {
		l.see("pods that a restart mends: %d of %d", more, len(s.pods))
	}
}

// former counts the pods of an earlier template while the workload's controller replaces
// them.
func (s *subject) former() int {
	status, _ := s.object["status"].(object)
	number := func(names ...string) int {
		for _, name := range names {
			if n, ok := status[name].(float64); ok {
				return int(n)
			}
		}
		return 0
	}
	return number("replicas", "desiredNumberScheduled") - number("updatedReplicas", "updatedNumberScheduled")
}

// differs is the first variable that a pod has otherwise than a new one.
func (x *examination) differs(p workload.Running) (variable, value, now string) {
	for _, variable := range []string{contract.EnvClientID, contract.EnvTenantID} {
		value, now := p.Spec.Env(variable), x.expected.Spec.Env(variable)
		if value != now && now != "" {
			return variable, value, now
		}
	}
	return "", "", ""
}
