package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/kube"
	"azwi/internal/pod/lint"
	"azwi/internal/pod/workload"
)

// object is decoded JSON.
type object = map[string]any

// An accountObject is the part of a service account that the links look at.
type accountObject struct {
	Metadata struct {
		Name, Namespace     string
		Labels, Annotations map[string]string
	}
}

// A subject is what is examined: a workload, its service account and the pods that run.
type subject struct {
	named finding.Workload
	// object has the pod template. Nil for a service account without pods.
	object object
	// template is the pod that the object makes, without what injection added; nil with
	// object.
	template object
	pod      workload.Running // of template
	// pods run now.
	pods []workload.Running
	// namespace and account of the service account; raw is nil if it could not be read.
	namespace, account string
	raw                object
	accountObject      accountObject
	accountErr         error
	// lint is what package lint finds in object and raw.
	lint []lint.Finding
}

// read decodes one object twice: as it is, and as what the links look at. What files have
// comes first.
func (x *examination) read(ctx context.Context, ref kube.Ref, out any) (object, error) {
	for _, given := range x.Given {
		metadata, _ := given["metadata"].(object)
		if given["kind"] == ref.Kind && metadata["name"] == ref.Name && metadata["namespace"] == ref.Namespace {
			return given, convert(given, out)
		}
	}
	var raw object
	if err := x.Cluster.Read(ctx, ref, &raw); err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	return raw, convert(raw, out)
}

func convert(from, to any) error {
	raw, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, to)
}

func (x *examination) readSubject(ctx context.Context, ref kube.Ref) (*subject, error) {
	s := &subject{namespace: ref.Namespace}
	if err := x.readObjects(ctx, s, ref); err != nil {
		return nil, err
	}
	s.lint = s.mistakes()
	return s, nil
}

func (x *examination) readObjects(ctx context.Context, s *subject, ref kube.Ref) error {
	if ref.Kind == "ServiceAccount" {
		s.account, s.named = ref.Name, finding.Workload{Kind: ref.Kind, Namespace: ref.Namespace, Name: ref.Name}
		if s.raw, s.accountErr = x.read(ctx, ref, &s.accountObject); s.accountErr != nil && !kube.IsForbidden(s.accountErr) {
			return s.accountErr
		}
		return x.podsOfAccount(ctx, s)
	}
	var named workload.Running
	var err error
	if s.object, err = x.read(ctx, ref, &named); err != nil {
		return err
	}
	kind, _ := workload.Find(ref.APIVersion, ref.Kind)
	if ref.Kind == "Pod" {
		s.pods = []workload.Running{named}
		if kind, err = x.owner(ctx, s, named, &ref); err != nil {
			return err
		}
	}
	s.named = finding.Workload{Kind: ref.Kind, Namespace: ref.Namespace, Name: ref.Name}
	if err := s.readTemplate(kind); err != nil {
		return err
	}
	if len(s.pods) == 0 {
		if err := x.podsOfWorkload(ctx, s); err != nil {
			return err
		}
	}
	s.account = cmp.Or(s.pod.Spec.ServiceAccountName, "default")
	s.raw, s.accountErr = x.read(ctx, kube.AccountRef(s.namespace, s.account), &s.accountObject)
	return nil
}

// owner follows a pod's controllers to the object whose template people write. Who may not
// read it, or whose controller is not Kubernetes' own, examines the pod alone.
func (x *examination) owner(ctx context.Context, s *subject, pod workload.Running, ref *kube.Ref) (workload.Kind, error) {
	kind, _ := workload.Find("v1", "Pod")
	const most = 3 // Pod, Job, CronJob
	for range most {
		i := slices.IndexFunc(pod.Metadata.OwnerReferences, func(o workload.Owner) bool { return o.Controller })
		if i < 0 {
			break
		}
		o := pod.Metadata.OwnerReferences[i]
		above, known := workload.Find(o.APIVersion, o.Kind)
		if !known {
			break
		}
		next := kube.Ref{APIVersion: o.APIVersion, Kind: o.Kind, Namespace: ref.Namespace, Name: o.Name}
		var named workload.Running
		raw, err := x.read(ctx, next, &named)
		if kube.IsForbidden(err) || kube.IsNotFound(err) {
			break
		}
		if err != nil {
			return kind, err
		}
		s.object, kind, *ref, pod = raw, above, next, named
	}
	return kind, nil
}

// readTemplate takes the pod template out of the object.
func (s *subject) readTemplate(kind workload.Kind) error {
	raw, ok := kind.Pod(s.object)
	if !ok {
		return fmt.Errorf("%s has no pod template", s.named)
	}
	if err := json.Unmarshal(raw, &s.template); err != nil {
		return err
	}
	if kind.Kind == "Pod" {
		strip(s.template)
	}
	return convert(s.template, &s.pod)
}

// strip takes out of a pod what injection and the API server added, so that it can be
// created, and injected, again.
func strip(pod object) {
	metadata, _ := pod["metadata"].(object)
	annotations, _ := metadata["annotations"].(object)
	delete(annotations, contract.InjectedForAnnotation)
	spec, _ := pod["spec"].(object)
	delete(spec, "nodeName")
	reserved := func(name any) bool {
		text, _ := name.(string)
		return strings.HasPrefix(text, contract.VolumePrefix) || text == contract.LegacyVolume || strings.HasPrefix(text, "kube-api-access-")
	}
	var typed workload.PodSpec
	injected := convert(spec, &typed) == nil && typed.Injected()
	for _, list := range []string{"containers", "initContainers"} {
		containers, _ := spec[list].([]any)
		containers = slices.DeleteFunc(containers, func(c any) bool {
			container, _ := c.(object)
			return container["name"] == contract.ProxyContainer || container["name"] == contract.ProxyInitContainer
		})
		for _, c := range containers {
			container, _ := c.(object)
			mounts, _ := container["volumeMounts"].([]any)
			container["volumeMounts"] = slices.DeleteFunc(mounts, func(m any) bool { mount, _ := m.(object); return reserved(mount["name"]) })
			env, _ := container["env"].([]any)
			container["env"] = slices.DeleteFunc(env, func(e any) bool {
				variable, _ := e.(object)
				return injected && slices.Contains([]any{
					contract.EnvClientID, contract.EnvTenantID, contract.EnvFederatedTokenFile, contract.EnvAuthorityHost,
				}, variable["name"])
			})
		}
		if spec[list] != nil {
			spec[list] = containers
		}
	}
	volumes, _ := spec["volumes"].([]any)
	spec["volumes"] = slices.DeleteFunc(volumes, func(v any) bool { volume, _ := v.(object); return reserved(volume["name"]) })
}

// podsOfWorkload lists the pods that the workload's selector selects.
func (x *examination) podsOfWorkload(ctx context.Context, s *subject) error {
	spec, _ := s.object["spec"].(object)
	selector, _ := spec["selector"].(object)
	if labels, ok := selector["matchLabels"].(object); ok {
		selector = labels
	} else if s.named.Kind != "ReplicationController" {
		return nil // a CronJob has none of its own
	}
	var terms []string
	for _, key := range slices.Sorted(maps.Keys(selector)) {
		if value, ok := selector[key].(string); ok {
			terms = append(terms, key+"="+value)
		}
	}
	if len(terms) == 0 {
		return nil
	}
	return x.listPods(ctx, s, strings.Join(terms, ","), func(workload.Running) bool { return true })
}

// podsOfAccount lists the pods that run as the service account, and takes the first one's
// owner for what is examined.
func (x *examination) podsOfAccount(ctx context.Context, s *subject) error {
	return x.listPods(ctx, s, "", func(p workload.Running) bool { return p.Account() == s.account })
}

func (x *examination) listPods(ctx context.Context, s *subject, selector string, wanted func(workload.Running) bool) error {
	err := x.Cluster.List(ctx, kube.Ref{APIVersion: "v1", Kind: "Pod", Namespace: s.namespace}, selector, func(raw json.RawMessage) error {
		var p workload.Running
		if err := json.Unmarshal(raw, &p); err != nil {
			return err
		}
		if p.Runs() && wanted(p) {
			s.pods = append(s.pods, p)
		}
		return nil
	})
	if kube.IsForbidden(err) {
		return nil // the template can be examined without its pods
	}
	return err
}

// probe is the pod to try: the template's, or for a service account without one the
// smallest that there is.
func (s *subject) probe() object {
	if s.template == nil {
		return s.smallest()
	}
	of, _ := s.template["metadata"].(object)
	spec, _ := s.template["spec"].(object)
	if spec["restartPolicy"] == nil && s.named.Kind == "Job" {
		spec = maps.Clone(spec)
		spec["restartPolicy"] = "Never"
	}
	return newPod(object{"labels": of["labels"], "annotations": of["annotations"]}, spec)
}

// smallest is the smallest pod that opts in.
func (s *subject) smallest() object {
	return newPod(object{"labels": object{contract.UseLabel: contract.UseLabelValue}},
		object{"serviceAccountName": s.account, "containers": []any{object{"name": "app", "image": "app"}}})
}

func newPod(metadata, spec object) object {
	metadata["generateName"] = "azwi-doctor-"
	return object{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
}
