package install

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"azwi/internal/finding"
)

// TestLaterRunGoesOn: a run that another one overtakes, wherever it is, writes nothing
// more and says so; what is there in the end is what the other one wants.
func TestLaterRunGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		installed := newFakeCluster(t)
		if err := installed.install(EngineWebhook); err != nil {
			t.Fatal(err)
		}
		switched := installed.clone(t)
		looks := 0
		switched.onLook = func() { looks++ }
		if err := switched.install(EnginePolicy); err != nil {
			t.Fatal(err)
		}
		later := []struct {
			name string
			run  func(f *fakeCluster) error
			want map[string]any
		}{
			{"the same", func(f *fakeCluster) error { return f.install(EnginePolicy) }, switched.state()},
			{"the reverse", func(f *fakeCluster) error { return f.install(EngineWebhook) }, installed.state()},
			{"uninstall", (*fakeCluster).uninstall, map[string]any{}},
		}
		if looks < 30 {
			t.Fatalf("the record was looked at %d times", looks)
		}
		for at := 1; at <= looks; at++ {
			l := later[at%len(later)]
			f, n := installed.clone(t), 0
			f.serving = true
			f.onLook = func() {
				if n++; n != at {
					return
				}
				f.onLook = nil
				if err := l.run(f); err != nil {
					t.Errorf("%s, at look %d: %v", l.name, at, err)
				}
			}
			if err := f.install(EnginePolicy); !errors.Is(err, finding.CodeOtherRun) {
				t.Errorf("overtaken by %s at look %d: %v", l.name, at, err)
			}
			if diff := cmp.Diff(l.want, f.state()); diff != "" {
				t.Fatalf("overtaken by %s at look %d: %s", l.name, at, diff)
			}
		}
	})
}

// TestRunsThatBeginTogether: of those that saw the same state one goes on, and the
// other changes nothing.
func TestRunsThatBeginTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		installed := newFakeCluster(t)
		if err := installed.install(EngineWebhook); err != nil {
			t.Fatal(err)
		}
		into := func(namespace string) func(f *fakeCluster) error {
			return func(f *fakeCluster) error {
				_, err := Install(t.Context(), Config{
					Client: f.client(), Version: "v1", Timeout: time.Second, render: f.render, Namespace: namespace,
					Values: map[string]any{"azureTenantID": tenantID, "global": map[string]any{"imageRegistry": "registry.example"}},
				}, false)
				return err
			}
		}
		for name, test := range map[string]struct {
			cluster       *fakeCluster
			quick, slower func(f *fakeCluster) error
			apart         string // a namespace that the slower one leaves
		}{
			"install, install":                        {newFakeCluster(t), into(""), into(""), ""},
			"install, install into another namespace": {newFakeCluster(t), into("elsewhere"), into("apart"), "/api/v1/namespaces/apart"},
			"upgrade, upgrade to another engine": {installed, func(f *fakeCluster) error { return f.install(EngineWebhook) },
				func(f *fakeCluster) error { return f.install(EnginePolicy) }, ""},
			"uninstall, upgrade": {installed, (*fakeCluster).uninstall, func(f *fakeCluster) error { return f.install(EnginePolicy) }, "/api/v1/namespaces/" + DefaultNamespace},
			"upgrade, uninstall": {installed, func(f *fakeCluster) error { return f.install(EnginePolicy) }, (*fakeCluster).uninstall, ""},
		} {
			f := test.cluster.clone(t)
			var want map[string]any
			f.onWrite = func(int) {
				f.onWrite = nil
				if err := test.quick(f); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				want = f.state()
			}
			if err := test.slower(f); !errors.Is(err, finding.CodeOtherRun) {
				t.Errorf("%s: %v", name, err)
			}
			got := f.state()
			delete(got, test.apart)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	})
}

// TestWaitingRunStops: a run that waits for an engine that never works doesn't wait on
// once another has taken over.
func TestWaitingRunStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster(t)
		if err := f.install(EnginePolicy); err != nil {
			t.Fatal(err)
		}
		f.broken[EngineWebhook] = true
		began, overtaken := time.Now(), time.Time{}
		f.onLook = func() {
			if time.Since(began) < time.Minute {
				return
			}
			f.onLook = nil
			if err := f.install(EnginePolicy); err != nil {
				t.Error(err)
			}
			overtaken = time.Now()
		}
		_, err := Install(t.Context(), Config{
			Client: f.client(), Version: "v1", Engine: EngineWebhook, Timeout: 5 * time.Minute, render: f.render,
			Values: map[string]any{"azureTenantID": tenantID, "global": map[string]any{"imageRegistry": "registry.example"}},
		}, true)
		if !errors.Is(err, finding.CodeOtherRun) || overtaken.IsZero() || time.Since(overtaken) > time.Second {
			t.Errorf("overtaken %s ago: %v", time.Since(overtaken), err)
		}
	})
}
