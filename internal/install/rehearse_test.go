package install

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestRefusalsBeforeTheFirstWrite: what would end a run in its middle ends it before
// it has written anything.
func TestRefusalsBeforeTheFirstWrite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		installed := newFakeCluster(t)
		if err := installed.install(EngineWebhook); err != nil {
			t.Fatal(err)
		}
		installed.objects["/api/v1/namespaces/shop"] = NewNamespace("shop", false)
		probeIn := func(namespace string) func(f *fakeCluster) error {
			return func(f *fakeCluster) error {
				_, err := Install(t.Context(), Config{Client: f.client(), Version: "v1", Timeout: time.Second, render: f.render, ProbeNamespace: namespace}, true)
				return err
			}
		}
		configuration := registrationPaths(t, EngineWebhook)[0]
		record, err := installed.record().ref().Path()
		if err != nil {
			t.Fatal(err)
		}
		for name, test := range map[string]struct {
			prepare func(f *fakeCluster)
			run     func(f *fakeCluster) error
			want    string // empty: it is allowed
		}{
			"the namespace of probes":           {func(*fakeCluster) {}, probeIn("shop"), ""},
			"a mistyped namespace of probes":    {func(*fakeCluster) {}, probeIn("shpo"), `--probe-namespace: the cluster has no namespace "shpo"; did you mean "shop"?`},
			"an engine that may not be removed": {func(f *fakeCluster) { f.kept = configuration }, func(f *fakeCluster) error { return f.install(EnginePolicy) }, "would not remove"},
			"no right to try a pod":             {func(f *fakeCluster) { f.noPods = true }, func(f *fakeCluster) error { return f.install(EnginePolicy) }, "may not create pods"},
			"an object that uninstall may not remove": {
				func(f *fakeCluster) { f.kept = configuration }, (*fakeCluster).uninstall, "would not remove"},
			"a record that uninstall may not remove": {func(f *fakeCluster) { f.kept = record }, (*fakeCluster).uninstall, "would not remove"},
		} {
			f := installed.clone(t)
			test.prepare(f)
			err := test.run(f)
			switch {
			case test.want == "" && err != nil:
				t.Errorf("%s: %v", name, err)
			case test.want == "":
			case err == nil || !strings.Contains(err.Error(), "nothing was changed") || !strings.Contains(err.Error(), test.want):
				t.Errorf("%s: %v", name, err)
			case f.writes > 0:
				t.Errorf("%s: %d writes: %s", name, f.writes, cmp.Diff(installed.state(), f.state()))
			}
		}
	})
}
