package e2e_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/discovery"
)

// snapshot is every object of the cluster by resource, namespace and name, but for
// what comes and goes by itself and the namespaces of the tests.
func (w *world) snapshot(t *testing.T) map[string]bool {
	t.Helper()
	lists, err := discovery.ServerPreferredResources(w.kube.Discovery())
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string]bool{}
	for _, list := range lists {
		for _, r := range list.APIResources {
			if !slices.Contains(r.Verbs, "list") || slices.Contains([]string{"events", "leases", "componentstatuses"}, r.Name) {
				continue
			}
			path := "/apis/" + list.GroupVersion + "/" + r.Name
			if list.GroupVersion == "v1" {
				path = "/api/v1/" + r.Name
			}
			var found struct {
				Items []struct {
					Metadata struct{ Namespace, Name string }
				}
			}
			if _, err := w.Admin.Do(t.Context(), "GET", path, nil, &found); err != nil {
				t.Fatal(err)
			}
			for _, item := range found.Items {
				if m := item.Metadata; m.Namespace == "" && r.Name != "namespaces" && r.Name != "persistentvolumes" ||
					slices.Contains([]string{"default", "kube-system", "kube-public", system}, m.Namespace) || m.Name == system {
					objects[strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Name, m.Namespace, m.Name))] = true
				}
			}
		}
	}
	return objects
}

// wantNothingLeft returns when the cluster has no more than it had.
func (w *world) wantNothingLeft(t *testing.T, before map[string]bool) {
	t.Helper()
	w.eventually(t, func() error {
		left := w.snapshot(t)
		maps.DeleteFunc(left, func(object string, _ bool) bool { return before[object] })
		if len(left) > 0 {
			return fmt.Errorf("left: %s", strings.Join(slices.Sorted(maps.Keys(left)), ", "))
		}
		return nil
	})
}
