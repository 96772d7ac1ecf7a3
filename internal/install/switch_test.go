package install

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"azwi/internal/finding"
	"azwi/internal/kube"
)

func (f *fakeCluster) install(engine string) error {
	_, err := Install(f.t.Context(), Config{
		Client: f.client(), Version: "v1", Engine: engine, Timeout: 5 * time.Second, render: f.render,
		Values: map[string]any{"azureTenantID": tenantID, "global": map[string]any{"imageRegistry": "registry.example"}},
	}, f.installed())
	return err
}

func (f *fakeCluster) installed() bool {
	for path := range f.objects {
		if strings.HasSuffix(path, "/configmaps/"+recordName) {
			return true
		}
	}
	return false
}

func (f *fakeCluster) uninstall() error {
	f.serving = false
	removal, err := PlanRemoval(f.t.Context(), f.client())
	if err != nil {
		return err
	}
	return removal.Do(f.t.Context(), func(string) {})
}

// interrupted are the clusters that a switch of engines leaves behind if it ends at
// one of its writes: killed, or by an error of the API server.
func interrupted(t *testing.T, installed *fakeCluster, to string) (left map[string]*fakeCluster, switched *fakeCluster) {
	t.Helper()
	left = map[string]*fakeCluster{}
	switched = installed.clone(t)
	switched.serving = true
	// A program that is killed does nothing more: what is there then is what was there
	// before the write.
	switched.onWrite = func(n int) { left[fmt.Sprintf("killed before write %d", n)] = switched.clone(t) }
	if err := switched.install(to); err != nil {
		t.Fatal(err)
	}
	for at := 1; at <= switched.writes; at++ {
		f := installed.clone(t)
		f.serving, f.failAt = true, at
		if err := f.install(to); err == nil {
			t.Fatal("the switch was not interrupted")
		}
		f = f.clone(t)
		if !same(f.state(), left[fmt.Sprintf("killed before write %d", at)].state()) {
			left[fmt.Sprintf("write %d refused", at)] = f
		}
	}
	return left, switched
}

// TestInterruptedSwitch ends a switch of engines at each of its writes, and then
// goes on, back, or uninstalls. All the while pods must be injected, and the end
// must be the very same as without an interruption.
func TestInterruptedSwitch(t *testing.T) {
	t.Parallel()
	for _, from := range []string{EngineWebhook, EnginePolicy} {
		to := other(from)
		t.Run(from+" to "+to, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				installed := newFakeCluster(t)
				if err := installed.install(from); err != nil {
					t.Fatal(err)
				}
				all, switched := interrupted(t, installed, to)
				if len(all) < 40 {
					t.Fatalf("only %d states", len(all))
				}
				t.Logf("%d writes leave %d states", switched.writes, len(all))
				before, after := installed.state(), switched.state()
				for i, what := range slices.Sorted(maps.Keys(all)) {
					left := all[what]
					byItself := before
					// The same is done either way, so each way is looked at every other time.
					engine := ""
					if checkStatus(t, what, left, from, to) {
						byItself, engine = after, []string{"", to}[i%2]
					}
					for _, then := range []struct {
						do   string
						run  func(f *fakeCluster) error
						want map[string]any
					}{
						{"going on, engine " + engine, func(f *fakeCluster) error { return f.install(engine) }, byItself},
						{"the reverse", func(f *fakeCluster) error { return f.install(from) }, before},
						{"uninstall", (*fakeCluster).uninstall, map[string]any{}},
					} {
						f := left.clone(t)
						f.serving = true
						if err := then.run(f); err != nil {
							t.Fatalf("%s, then %s: %v", what, then.do, err)
						}
						if got := f.state(); !same(then.want, got) {
							t.Fatalf("%s, then %s: %s", what, then.do, cmp.Diff(then.want, got))
						}
					}
				}
			})
		})
	}
}

func registrationPaths(t *testing.T, engine string) []string {
	t.Helper()
	var paths []string
	for _, ref := range registrations(engine) {
		paths = append(paths, pathOf(t, ref))
	}
	return paths
}

// checkStatus compares what azwi status says with what the cluster does. goesOn
// reports whether azwi upgrade would end with the new engine.
func checkStatus(t *testing.T, what string, f *fakeCluster, from, to string) (goesOn bool) {
	t.Helper()
	s, err := ReadStatus(t.Context(), f.client(), "v1", time.Now())
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if s.Injection == nil || !*s.Injection {
		t.Errorf("%s: status says that injection does not work: %v", what, s.Problems)
	}
	r := f.record()
	if s.Engine != r.Serving {
		t.Errorf("%s: status says that the %s serves, the record the %s", what, s.Engine, r.Serving)
	}
	// Whoever is said to serve does so without the other.
	alone := f.clone(t)
	for _, path := range registrationPaths(t, other(s.Engine)) {
		alone.remove(path)
	}
	alone.checkServed(what + ", without the " + other(s.Engine) + ",")
	said := ""
	for _, p := range s.Problems {
		said += p.Text() + "\n"
	}
	switch s.Phase {
	case PhaseTrial:
		if s.Engine != from || s.Target != to || !strings.Contains(said, "from "+from+" to "+to+", was interrupted; the "+from+" serves") {
			t.Errorf("%s: status says: %s", what, said)
		}
		return true
	case PhaseRemoval:
		if s.Engine != to || !strings.Contains(said, "the "+to+" serves all pods") {
			t.Errorf("%s: status says: %s", what, said)
		}
		return true
	case PhaseUninstall:
	}
	// Nothing was written down yet.
	if s.Engine != from || !r.Complete {
		t.Errorf("%s: no phase, the %s serves", what, s.Engine)
	}
	return false
}

// TestFailedTrial: a new engine that does not work changes nothing for the old one.
func TestFailedTrial(t *testing.T) {
	t.Parallel()
	for _, from := range []string{EngineWebhook, EnginePolicy} {
		to := other(from)
		t.Run(from, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFakeCluster(t)
				if err := f.install(from); err != nil {
					t.Fatal(err)
				}
				before := f.state()
				f.serving, f.broken[to] = true, true
				for range 2 { // a second run is tried as well
					if err := f.install(to); !errors.Is(err, finding.CodeTimedOut) {
						t.Fatalf("the switch to an engine that does not work: %v", err)
					}
					for _, path := range registrationPaths(t, from) {
						if diff := cmp.Diff(before[path], f.state()[path]); diff != "" {
							t.Errorf("%s: %s", path, diff)
						}
					}
					if r := f.record(); r.Serving != from || r.Target != to || r.Phase != PhaseTrial {
						t.Errorf("the record says %s, %s, %s", r.Serving, r.Target, r.Phase)
					}
				}
				if err := f.install(from); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(before, f.state()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// TestInterruptedInstall: what was begun is finished or removed, the namespace too.
func TestInterruptedInstall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		whole := newFakeCluster(t)
		if err := whole.install(EnginePolicy); err != nil {
			t.Fatal(err)
		}
		for at := 1; at <= whole.writes; at++ {
			f := newFakeCluster(t)
			f.killAt = at
			if err := f.install(EnginePolicy); err == nil {
				t.Fatal("it was not interrupted")
			}
			f = f.clone(t)
			if err := f.install(EnginePolicy); err != nil {
				t.Fatalf("killed at write %d: %v", at, err)
			}
			if diff := cmp.Diff(whole.state(), f.state()); diff != "" {
				t.Errorf("killed at write %d: %s", at, diff)
			}
			if err := f.uninstall(); err != nil || len(f.objects) > 0 {
				t.Errorf("killed at write %d: %v, and %d objects are left", at, err, len(f.objects))
			}
		}
	})
}

// TestInterruptedUninstall can be run again to its end.
func TestInterruptedUninstall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		installed := newFakeCluster(t)
		if err := installed.install(EngineWebhook); err != nil {
			t.Fatal(err)
		}
		for at, ended := 1, false; !ended; at++ {
			f := installed.clone(t)
			f.killAt = at
			ended = f.uninstall() == nil
			f = f.clone(t)
			if len(f.objects) == 0 {
				continue
			}
			if err := f.uninstall(); err != nil || len(f.objects) > 0 {
				t.Errorf("killed at write %d: %v, and %d objects are left", at, err, len(f.objects))
			}
		}
	})
}

// older turns the record into one of a version that did not know of switches.
func (f *fakeCluster) older(engine string, complete bool) {
	r := f.record()
	old := map[string]any{
		"version": r.Version, "release": r.Release, "engine": engine, "complete": complete, "createdNamespace": r.CreatedNamespace,
		"values": Merge(r.Values, map[string]any{"engine": engine}), "objects": r.Objects,
	}
	raw, err := marshal(old)
	if err != nil {
		f.t.Fatal(err)
	}
	path, err := r.ref().Path()
	if err != nil {
		f.t.Fatal(err)
	}
	f.objects[path] = with(f.objects[path], raw, "data", "record")
}

// TestOlderRecords: an older version wrote the new engine down before it tried it,
// and left the old one kept out of the namespace of probes.
func TestOlderRecords(t *testing.T) {
	t.Parallel()
	for _, from := range []string{EngineWebhook, EnginePolicy} {
		to := other(from)
		t.Run(from, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				installed := newFakeCluster(t)
				if err := installed.install(from); err != nil {
					t.Fatal(err)
				}
				switched := installed.clone(t)
				if err := switched.install(to); err != nil {
					t.Fatal(err)
				}
				complete := installed.clone(t)
				complete.older(from, true)
				complete.serving = true
				if err := complete.install(to); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(switched.state(), complete.state()); diff != "" {
					t.Error("from a complete record: ", diff)
				}

				// As far as an older version gets that is ended in its trial.
				left := installed.clone(t)
				left.onWrite = func(int) {
					for _, o := range left.objects {
						if slices.ContainsFunc(registrations(to), func(r kube.Ref) bool { return r == Object(o).Ref() }) {
							left.killAt = left.writes
						}
					}
				}
				if err := left.install(to); err == nil {
					t.Fatal("it was not interrupted")
				}
				left = left.clone(t)
				left.older(to, false)
				excluded := map[string]any{"matchExpressions": []any{map[string]any{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": []any{DefaultNamespace}}}}
				for _, path := range registrationPaths(t, from) {
					left.objects[path] = deepCopy(t, left.objects[path])
					for _, holder := range selectorHolders(left.objects[path]) {
						holder["namespaceSelector"] = excluded
					}
				}
				if s, err := ReadStatus(t.Context(), left.client(), "v1", time.Now()); err != nil || s.Engine != from || s.Target != to {
					t.Errorf("status: %+v, %v", s, err)
				}
				for _, then := range []struct {
					engine string
					want   map[string]any
				}{{to, switched.state()}, {from, installed.state()}} {
					f := left.clone(t)
					// In the namespace of probes nothing serves until it is mended, first of all.
					f.onWrite = func(n int) { f.serving = n >= len(registrations(from)) }
					if err := f.install(then.engine); err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(then.want, f.state()); diff != "" {
						t.Errorf("to %s: %s", then.engine, diff)
					}
				}
				if err := left.uninstall(); err != nil || len(left.objects) > 0 {
					t.Errorf("%v, and %d objects are left", err, len(left.objects))
				}
			})
		})
	}
}
