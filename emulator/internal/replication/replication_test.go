package replication

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"azwi/emulator/internal/directory"
	"azwi/emulator/internal/random"
)

const client = "client"

// fixture is a model with three replicas whose clock the test moves.
type fixture struct {
	*Model
	now time.Time
}

func newFixture(s Settings) *fixture {
	f := &fixture{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	f.Model = New(s, random.New(7, "test"), func() time.Time { return f.now })
	return f
}

func settings() Settings {
	return Settings{Replicas: 3, MinDelay: time.Second, MaxDelay: 10 * time.Second, MissMemory: 5 * time.Minute}
}

// each reads until every replica has answered, and returns what each knew.
func (f *fixture) each(stored []directory.Credential) map[int][]string {
	names := map[int][]string{}
	for len(names) < f.settings.Replicas {
		v := f.Read(client, stored)
		names[v.replica] = []string{}
		for _, c := range v.Credentials {
			names[v.replica] = append(names[v.replica], c.Name+"="+c.Subject)
		}
	}
	return names
}

func TestReplicasLearnLater(t *testing.T) {
	t.Parallel()
	f := newFixture(settings())
	c := directory.Credential{Name: "a", Subject: "one"}
	stored := []directory.Credential{c}
	f.Changed(client, nil, &c)
	want := map[int][]string{0: {}, 1: {}, 2: {}}
	if diff := cmp.Diff(want, f.each(stored)); diff != "" {
		t.Errorf("at once (-want +got):\n%s", diff)
	}
	status := f.Status(client)
	if status.Ready || status.TrueReadyAt.Before(f.now.Add(time.Second)) || status.TrueReadyAt.After(f.now.Add(10*time.Second)) {
		t.Errorf("status %+v", status)
	}
	f.now = status.TrueReadyAt.Add(-time.Nanosecond)
	known := 0
	for _, names := range f.each(stored) {
		known += len(names)
	}
	if known != 2 {
		t.Errorf("just before the end %d replicas know, want all but one", known)
	}
	f.now = status.TrueReadyAt
	want = map[int][]string{0: {"a=one"}, 1: {"a=one"}, 2: {"a=one"}}
	if diff := cmp.Diff(want, f.each(stored)); diff != "" {
		t.Errorf("at the end (-want +got):\n%s", diff)
	}
	if !f.Status(client).Ready || len(f.pending) != 0 {
		t.Error("still pending")
	}
}

// Changes and deletions spread too, in the order they were made.
func TestOldStateUntilLearned(t *testing.T) {
	t.Parallel()
	f := newFixture(settings())
	one, two := directory.Credential{Name: "a", Subject: "one"}, directory.Credential{Name: "a", Subject: "two"}
	f.Changed(client, &one, &two)
	want := map[int][]string{0: {"a=one"}, 1: {"a=one"}, 2: {"a=one"}}
	if diff := cmp.Diff(want, f.each([]directory.Credential{two})); diff != "" {
		t.Errorf("after a change (-want +got):\n%s", diff)
	}
	f.Changed(client, &two, nil)
	if diff := cmp.Diff(want, f.each(nil)); diff != "" {
		t.Errorf("after a deletion (-want +got):\n%s", diff)
	}
	for range 40 {
		f.now = f.now.Add(250 * time.Millisecond)
		for replica, names := range f.each(nil) {
			// A replica goes one, two, none; it never skips back.
			if len(names) == 1 && names[0] == "a=one" && len(f.pending[client]) == 1 {
				t.Errorf("replica %d went back to the first state", replica)
			}
		}
	}
	f.now = f.now.Add(time.Minute)
	if diff := cmp.Diff(map[int][]string{0: {}, 1: {}, 2: {}}, f.each(nil)); diff != "" {
		t.Errorf("at the end (-want +got):\n%s", diff)
	}
}

func TestMissIsRememberedAndNotExtended(t *testing.T) {
	t.Parallel()
	f := newFixture(settings())
	start := f.now
	v := f.Read(client, nil)
	v.Remember("iss", "sub", 700213)
	f.now = f.now.Add(4 * time.Minute)
	v.Remember("iss", "sub", 70025)
	if code, ok := v.Remembered("iss", "sub"); !ok || code != 700213 {
		t.Errorf("remembered %d %v, want the first miss", code, ok)
	}
	for _, other := range []struct{ issuer, subject string }{{"iss2", "sub"}, {"iss", "sub2"}} {
		if _, ok := v.Remembered(other.issuer, other.subject); ok {
			t.Errorf("%v is remembered too", other)
		}
	}
	if status := f.Status(client); !status.TrueReadyAt.Equal(start.Add(5 * time.Minute)) {
		t.Errorf("ready at %v, want when the miss is forgotten", status.TrueReadyAt)
	}
	f.now = start.Add(5 * time.Minute)
	if _, ok := v.Remembered("iss", "sub"); ok {
		t.Error("the repeat extended the memory")
	}
	if !f.Status(client).Ready {
		t.Error("not ready when the miss is forgotten")
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	s := settings()
	s.Replicas = 1
	f := newFixture(s)
	v := f.Read(client, nil)
	for i := range 3 * maxMisses {
		v.Remember("iss", time.Duration(i).String(), 70025)
	}
	if n := len(f.misses[0]); n > maxMisses {
		t.Errorf("%d misses are remembered", n)
	}
}

func TestImmediateSettings(t *testing.T) {
	t.Parallel()
	f := newFixture(Settings{Replicas: 2})
	c := directory.Credential{Name: "a"}
	f.Changed(client, nil, &c)
	f.Created("principal")
	if !f.Status(client).Ready || !f.KnowsPrincipal("principal") {
		t.Error("something is pending without delays")
	}
}

// The same seed gives the same delays.
func TestSeedRepeats(t *testing.T) {
	t.Parallel()
	c := directory.Credential{Name: "a"}
	first, second := newFixture(settings()), newFixture(settings())
	first.Changed(client, nil, &c)
	second.Changed(client, nil, &c)
	if diff := cmp.Diff(first.Status(client), second.Status(client)); diff != "" {
		t.Error(diff)
	}
}
