package install

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"azwi/contract"
	"azwi/internal/kube"
)

const tenantID = "11111111-1111-1111-1111-111111111111"

// A fakeCluster is an API server with the two engines: it keeps objects, and admits
// pods as the registrations among them say. Its server-side apply knows one manager;
// lists other than webhooks are atomic. Defaults, validation and the engines' own
// work are not modelled: test/cli installs on a real API server.
type fakeCluster struct {
	t       *testing.T
	objects map[string]map[string]any // by path
	applied map[string]map[string]any // what the manager applied last
	version int

	// broken engines inject nothing.
	broken map[string]bool
	// serving: every labelled pod must be injected after each write.
	serving bool
	// proven: an ordinary pod was injected by the registrations that are there now.
	proven bool
	// invalid is the path of an object that is refused. Optional.
	invalid string
	// kept is the path of an object that may not be removed. Optional.
	kept string
	// noPods: the user may not create pods.
	noPods bool
	// writes are counted; at failAt one is refused, from killAt on nothing gets through.
	writes, failAt, killAt int
	// onWrite is called before each write with its number. Optional.
	onWrite func(n int)
	// onLook is called before the record is looked at, as each run does before it writes.
	// Optional.
	onLook func()
	// rendered is what the chart gave for the values. It is only read.
	rendered map[string][]Object
}

func newFakeCluster(t *testing.T) *fakeCluster {
	t.Helper()
	return &fakeCluster{t: t, objects: map[string]map[string]any{}, applied: map[string]map[string]any{}, broken: map[string]bool{}, rendered: map[string][]Object{}}
}

// render renders the same but once, as the chart takes longest of all.
func (f *fakeCluster) render(ctx context.Context, r Release) ([]Object, string, error) {
	key, err := json.Marshal(r)
	if err != nil {
		return nil, "", err
	}
	if objects, ok := f.rendered[string(key)]; ok {
		return slices.Clone(objects), "", nil
	}
	objects, notes, err := Render(ctx, r)
	f.rendered[string(key)] = objects
	return slices.Clone(objects), notes, err
}

// clone is a cluster with the same objects, without faults.
func (f *fakeCluster) clone(t *testing.T) *fakeCluster {
	t.Helper()
	c := newFakeCluster(t)
	c.version, c.broken, c.rendered = f.version, maps.Clone(f.broken), f.rendered
	// No object is changed in place.
	c.objects, c.applied = maps.Clone(f.objects), maps.Clone(f.applied)
	return c
}

func pathOf(t *testing.T, ref kube.Ref) string {
	t.Helper()
	path, err := ref.Path()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func deepCopy(t *testing.T, o map[string]any) map[string]any {
	t.Helper()
	var c map[string]any
	if err := convert(o, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func (f *fakeCluster) client() *kube.Client {
	return &kube.Client{Host: "https://fake", HTTP: &http.Client{Transport: f}}
}

var errKilled = errors.New("killed")

func (f *fakeCluster) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.killAt > 0 && f.writes >= f.killAt {
		return nil, errKilled
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	recordPath := strings.HasSuffix(r.URL.Path, "/configmaps/"+recordName)
	if r.Method == http.MethodGet && recordPath && f.onLook != nil {
		f.onLook()
	}
	write := r.Method != http.MethodGet && !r.URL.Query().Has("dryRun") && !strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews")
	if write {
		f.writes++
		if f.onWrite != nil {
			f.onWrite(f.writes)
		}
		if f.killAt == f.writes {
			return nil, errKilled
		}
		if f.failAt == f.writes {
			return answer(http.StatusInternalServerError, status("refused by the test"))
		}
	}
	code, object := f.serve(r, body)
	if write && f.serving && strings.Contains(r.URL.Path, "/admissionregistration.k8s.io/") {
		f.checkServed(r.Method + " " + r.URL.Path)
	}
	return answer(code, object)
}

func status(message string) map[string]any {
	return map[string]any{"kind": "Status", "message": message}
}

func answer(code int, object any) (*http.Response, error) {
	raw, err := json.Marshal(object)
	return &http.Response{StatusCode: code, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(raw))}, err
}

func (f *fakeCluster) serve(r *http.Request, body []byte) (int, any) {
	path := r.URL.Path
	switch {
	case path == "/version":
		return http.StatusOK, map[string]any{"gitVersion": "v1.37.2"}
	case path == "/apis":
		return http.StatusOK, groups("admissionregistration.k8s.io/v1", "apps/v1", "rbac.authorization.k8s.io/v1", "policy/v1",
			"networking.k8s.io/v1", "flowcontrol.apiserver.k8s.io/v1")
	case r.Method == http.MethodPost && strings.HasSuffix(path, "/selfsubjectaccessreviews"):
		return http.StatusCreated, map[string]any{"status": map[string]any{"allowed": !f.noPods}}
	case r.Method == http.MethodPost && strings.HasSuffix(path, "/pods"):
		var pod map[string]any
		if err := json.Unmarshal(body, &pod); err != nil {
			return http.StatusBadRequest, status(err.Error())
		}
		code, admitted := f.admit(strings.Split(path, "/")[4], pod)
		_, trial := lookup(pod, "metadata", "labels", trialLabel).(string)
		f.proven = code == http.StatusCreated && !trial
		return code, admitted
	case r.Method == http.MethodGet && len(strings.Split(path, "/")) < 6 && r.URL.Query().Has("labelSelector"):
		return f.list(path, r.URL.Query().Get("labelSelector"))
	case r.Method == http.MethodDelete && r.URL.Query().Has("labelSelector"):
		_, found := f.list(path, r.URL.Query().Get("labelSelector"))
		for _, o := range found["items"].([]any) { //nolint:forcetypeassert // list made it
			f.remove(path + "/" + Object(o.(map[string]any)).Name()) //nolint:forcetypeassert // the same
		}
		return http.StatusOK, status("")
	}
	if parts := strings.Split(path, "/namespaces/"); (r.Method == http.MethodPatch || r.Method == http.MethodPost) && len(parts) == 2 {
		if name, _, in := strings.Cut(parts[1], "/"); in && f.objects["/api/v1/namespaces/"+name] == nil {
			return http.StatusNotFound, status("namespace " + name + " not found")
		}
	}
	if r.Method == http.MethodDelete && f.kept == path {
		return http.StatusForbidden, status("refused by the test")
	}
	if f.invalid == path && r.Method != http.MethodGet {
		return http.StatusUnprocessableEntity, status("refused by the test")
	}
	if r.Method == http.MethodPost {
		var want map[string]any
		if err := json.Unmarshal(body, &want); err != nil {
			return http.StatusBadRequest, status(err.Error())
		}
		path += "/" + Object(want).Name()
		if f.objects[path] != nil {
			return http.StatusConflict, status(path + " already exists")
		}
		return http.StatusCreated, f.store(path, want)
	}
	o, there := f.objects[path]
	switch r.Method {
	case http.MethodGet:
		if !there && strings.HasSuffix(path, "s") && !strings.Contains(path, "azure-wi") {
			return f.list(path, "")
		}
	case http.MethodDelete:
		if !r.URL.Query().Has("dryRun") {
			f.remove(path)
		}
	case http.MethodPut:
		var want map[string]any
		if err := json.Unmarshal(body, &want); err != nil || !there {
			return http.StatusBadRequest, status("no object to replace")
		}
		if Object(want).metadata()["resourceVersion"] != Object(o).metadata()["resourceVersion"] {
			return http.StatusConflict, status("the object has been modified")
		}
		if err := immutable(o, want); err != nil {
			return http.StatusUnprocessableEntity, status(err.Error())
		}
		if !r.URL.Query().Has("dryRun") {
			delete(f.applied, path)
			f.store(path, want)
		}
		return http.StatusOK, want
	case http.MethodPatch:
		var want Object
		if json.Unmarshal(body, &want) == nil { // else it is a JSON patch, which has its own test
			seen := want.metadata()["resourceVersion"]
			if seen != nil && (!there || seen != Object(o).metadata()["resourceVersion"]) {
				return http.StatusConflict, status("the object has been modified")
			}
		}
		patched, err := f.patch(r, path, o, body)
		if err != nil {
			return http.StatusUnprocessableEntity, status(err.Error())
		}
		return http.StatusOK, patched
	}
	if !there {
		return http.StatusNotFound, status("there is no " + path)
	}
	return http.StatusOK, o
}

func groups(versions ...string) any {
	var all []any
	for _, v := range versions {
		all = append(all, map[string]any{"versions": []any{map[string]any{"groupVersion": v}}})
	}
	return map[string]any{"groups": all}
}

// list finds what is of a kind, in all namespaces or in one.
func (f *fakeCluster) list(path, selector string) (int, map[string]any) {
	matching, err := labels.Parse(selector)
	if err != nil {
		return http.StatusBadRequest, status(err.Error())
	}
	items := []any{}
	plural := path[strings.LastIndex(path, "/")+1:]
	for _, at := range slices.Sorted(maps.Keys(f.objects)) {
		kind := at[:strings.LastIndex(at, "/")]
		var have map[string]string
		_ = convert(Object{"l": Object(f.objects[at]).metadata()["labels"]}, &struct{ L *map[string]string }{&have})
		if strings.HasSuffix(kind, "/"+plural) && matching.Matches(labels.Set(have)) {
			items = append(items, f.objects[at])
		}
	}
	return http.StatusOK, map[string]any{"metadata": map[string]any{}, "items": items}
}

func (f *fakeCluster) remove(path string) {
	if name, ok := strings.CutPrefix(path, "/api/v1/namespaces/"); ok && !strings.Contains(name, "/") {
		for at := range f.objects {
			if strings.Contains(at, "/namespaces/"+name+"/") {
				f.remove(at)
			}
		}
	}
	delete(f.objects, path)
	delete(f.applied, path)
}

func (f *fakeCluster) patch(r *http.Request, path string, o map[string]any, body []byte) (map[string]any, error) {
	old, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	var patched, want map[string]any
	switch kind := r.Header.Get("Content-Type"); kind {
	case "application/apply-patch+yaml":
		if err := json.Unmarshal(body, &want); err != nil {
			return nil, err
		}
		patched = applied(f.applied[path], want, o)
	case "application/json-patch+json":
		patch, err := jsonpatch.DecodePatch(body)
		if err != nil {
			return nil, err
		}
		if old, err = patch.Apply(old); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(old, &patched); err != nil {
			return nil, err
		}
	case "application/merge-patch+json":
		if old, err = jsonpatch.MergePatch(old, body); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(old, &patched); err != nil {
			return nil, err
		}
	default:
		return nil, errors.New("a patch of type " + kind)
	}
	if err := immutable(o, patched); err != nil {
		return nil, err
	}
	if r.URL.Query().Has("dryRun") {
		return patched, nil
	}
	if want != nil {
		f.applied[path] = want
	}
	return f.store(path, patched), nil
}

// immutable refuses another selector of a Deployment.
func immutable(o, want map[string]any) error {
	if o["kind"] == "Deployment" && !same(lookup(o, "spec", "selector"), lookup(want, "spec", "selector")) {
		return errors.New("spec.selector: field is immutable")
	}
	return nil
}

func (f *fakeCluster) store(path string, patched map[string]any) map[string]any {
	f.version++
	patched = with(patched, strconv.Itoa(f.version), "metadata", "resourceVersion")
	if f.objects[path] == nil {
		patched = with(patched, "uid-"+strconv.Itoa(f.version), "metadata", "uid")
	}
	if patched["kind"] == "Deployment" {
		n, _ := lookup(patched, "spec", "replicas").(float64)
		if f.broken[EngineWebhook] {
			n = 0
		}
		patched["status"] = map[string]any{"replicas": n, "updatedReplicas": n, "availableReplicas": n}
	}
	f.objects[path] = patched
	return patched
}

// applied is what server-side apply makes of an object.
func applied(before, want, have map[string]any) map[string]any {
	result := maps.Clone(have)
	if result == nil {
		result = map[string]any{}
	}
	for key := range before {
		if _, kept := want[key]; !kept {
			delete(result, key)
		}
	}
	for key, w := range want {
		b, h := before[key], have[key]
		switch w := w.(type) {
		case map[string]any:
			if strings.HasSuffix(key, "Selector") {
				result[key] = w
				continue
			}
			b, _ := b.(map[string]any)
			h, _ := h.(map[string]any)
			result[key] = applied(b, w, h)
		case []any:
			merged := slices.Clone(w)
			for i := range merged {
				if key == "webhooks" {
					b, _ := lookup(before, key, i).(map[string]any)
					h, _ := lookup(have, key, i).(map[string]any)
					merged[i] = applied(b, w[i].(map[string]any), h) //nolint:forcetypeassert // a webhook
				}
			}
			result[key] = merged
		default:
			result[key] = w
		}
	}
	return result
}

// admit is what the API server answers to a pod.
func (f *fakeCluster) admit(namespace string, pod map[string]any) (int, any) {
	injected := false
	for _, o := range f.objects {
		if o["kind"] != "MutatingWebhookConfiguration" {
			continue
		}
		for _, w := range o["webhooks"].([]any) { //nolint:forcetypeassert // the chart's
			w, _ := w.(map[string]any)
			if !f.matches(namespace, pod, w) {
				continue
			}
			if f.broken[EngineWebhook] {
				return http.StatusInternalServerError, status("failed calling webhook")
			}
			injected = true
		}
	}
	bound := func(kind string) bool {
		const admission = "/apis/admissionregistration.k8s.io/v1/"
		policy, binding := f.objects[admission+kind+"policies/"+policyName], f.objects[admission+kind+"policybindings/"+policyName]
		constraints, _ := lookup(policy, "spec", "matchConstraints").(map[string]any)
		resources, _ := lookup(binding, "spec", "matchResources").(map[string]any)
		return policy != nil && binding != nil && f.matches(namespace, pod, constraints) && f.matches(namespace, pod, resources)
	}
	if bound("mutatingadmission") && !f.broken[EnginePolicy] {
		injected = true
	}
	if bound("validatingadmission") && !injected {
		return http.StatusForbidden, status("workload identity was not injected")
	}
	if injected {
		pod["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)["env"] = []any{ //nolint:forcetypeassert // of the probe
			map[string]any{"name": contract.EnvFederatedTokenFile, "value": "/file"}, map[string]any{"name": contract.EnvTenantID, "value": tenantID},
		}
	}
	return http.StatusCreated, pod
}

func (f *fakeCluster) matches(namespace string, pod, selectors map[string]any) bool {
	var typed struct{ NamespaceSelector, ObjectSelector *metav1.LabelSelector }
	if err := convert(selectors, &typed); err != nil {
		f.t.Error(err)
	}
	var podLabels struct {
		Metadata struct{ Labels map[string]string }
	}
	if err := convert(pod, &podLabels); err != nil {
		f.t.Error(err)
	}
	for _, s := range []struct {
		selector *metav1.LabelSelector
		labels   map[string]string
	}{{typed.NamespaceSelector, map[string]string{"kubernetes.io/metadata.name": namespace}}, {typed.ObjectSelector, podLabels.Metadata.Labels}} {
		if s.selector == nil {
			continue
		}
		selector, err := metav1.LabelSelectorAsSelector(s.selector)
		if err != nil {
			f.t.Error(err)
			return false
		}
		if !selector.Matches(labels.Set(s.labels)) {
			return false
		}
	}
	return true
}

// checkServed fails the test unless pods of users are injected everywhere.
func (f *fakeCluster) checkServed(after string) {
	f.t.Helper()
	for _, namespace := range []string{"shop", DefaultNamespace} {
		pod := map[string]any{
			"metadata": map[string]any{"labels": map[string]any{contract.UseLabel: contract.UseLabelValue}},
			"spec":     map[string]any{"containers": []any{map[string]any{}}},
		}
		code, got := f.admit(namespace, pod)
		if code != http.StatusCreated || lookup(got, "spec", "containers", 0, "env") == nil {
			f.t.Errorf("after %s a pod of namespace %s is not injected: %d, %v", after, namespace, code, got)
		}
	}
}

// state is all that is there, but for versions and the mark of a run.
func (f *fakeCluster) state() map[string]any {
	all := map[string]any{}
	for path, o := range f.objects {
		metadata := maps.Clone(Object(o).metadata())
		delete(metadata, "resourceVersion")
		delete(metadata, "uid")
		o = maps.Clone(o)
		o["metadata"] = metadata
		if strings.HasSuffix(path, "/configmaps/"+recordName) {
			var r map[string]any
			if err := json.Unmarshal([]byte(Object(o).text("data", "record")), &r); err != nil {
				f.t.Fatal(err)
			}
			delete(r, "run")
			o["data"] = r
		}
		all[path] = o
	}
	return all
}

func (f *fakeCluster) record() *record {
	c := cluster{Client: f.client()}
	r, err := c.readRecord(f.t.Context())
	if err != nil || r == nil {
		f.t.Fatalf("read the record: %v, %v", r, err)
	}
	return r
}

func same(a, b any) bool { return reflect.DeepEqual(a, b) }

func marshal(v any) (string, error) {
	raw, err := json.Marshal(v)
	return string(raw), err
}
