package federation_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"azwi/internal/azure/arm"
	"azwi/internal/identity/federation"
)

// A world is made of numbers, for the fuzzer: a file, and credentials that
// somebody left behind.
type world struct {
	file     *federation.File
	existing map[string][]federation.Credential // by managed identity
}

func randomWorld(r *rand.Rand) world {
	accounts := []string{"shop/a", "shop/b", "shop/c", "shop/d"}
	f := &federation.File{APIVersion: federation.APIVersion, Kind: federation.Kind}
	for i := range 1 + r.IntN(3) {
		f.Clusters = append(f.Clusters, federation.Cluster{Name: fmt.Sprintf("c%d", i), Issuer: fmt.Sprintf("https://c%d.example.com/", i)})
	}
	w := world{file: f, existing: map[string][]federation.Credential{}}
	for i := range 1 + r.IntN(3) {
		identity := managed(fmt.Sprintf("i%d", i))
		e := federation.Entry{Name: identity.Name, ManagedIdentity: identity.ID()}
		if r.IntN(3) == 0 {
			e.Audience = "api://another"
		}
		e.ServiceAccounts = slices.Clone(accounts[:1+r.IntN(len(accounts))])
		f.Identities = append(f.Identities, e)
		// Names and contents are mixed, as after changes by hand: a name of ours may
		// have any content, and any content another's name.
		names, pairs := map[string]bool{}, map[string]bool{}
		for n := range r.IntN(12) {
			content := identity.Credential("shop", string(rune('a'+r.IntN(6))), fmt.Sprintf("https://c%d.example.com/", r.IntN(4)), audience, "")
			name := identity.Credential("shop", string(rune('a'+r.IntN(6))), fmt.Sprintf("https://c%d.example.com/", r.IntN(4)), audience, "").Name
			switch r.IntN(3) {
			case 0:
				content.Name = name
			case 1:
				content.Name = fmt.Sprintf("other-%d", n)
			}
			if r.IntN(4) == 0 {
				content.Audience = "api://another"
			}
			if pair := content.Issuer + content.Subject; !names[content.Name] && !pairs[pair] {
				names[content.Name], pairs[pair] = true, true
				w.existing[identity.Name] = append(w.existing[identity.Name], content)
			}
		}
	}
	return w
}

// targets are the file's identities with what there is.
func (w world) targets(t testing.TB) []federation.Target {
	t.Helper()
	var found []federation.Target
	for _, e := range w.file.Identities {
		id, err := arm.ParseIdentityID(e.ManagedIdentity)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, federation.Target{Identity: federation.Identity{Name: e.Name, ManagedIdentity: id}, Existing: w.existing[id.Name]})
	}
	targets, err := w.file.Targets(found, audience)
	if err != nil {
		t.Fatal(err)
	}
	return targets
}

// apply does a plan in memory, by Azure's rules, one write at a time.
func (w world) apply(t testing.TB, plan federation.Plan) {
	t.Helper()
	for _, c := range plan.Changes {
		id := c.Target().ManagedIdentity.Name
		list := slices.DeleteFunc(slices.Clone(w.existing[id]), func(e federation.Credential) bool { return e.Name == c.Name })
		if c.Action == federation.Remove {
			if len(list) != len(w.existing[id])-1 {
				t.Fatalf("%s is removed from %s and is not there", c.Name, id)
			}
		} else {
			for _, e := range list {
				if e.Issuer == c.Issuer && e.Subject == c.Subject {
					t.Fatalf("%s: %s has %s %s already", c.Name, e.Name, c.Issuer, c.Subject)
				}
			}
			if added := len(list) == len(w.existing[id]); added != (c.Action == federation.Add) {
				t.Fatalf("%s %s, which was there: %v", c.Action, c.Name, !added)
			}
			list = append(list, federation.Credential{Name: c.Name, Issuer: c.Issuer, Subject: c.Subject, Audience: c.Audience})
			if len(list) > federation.MaxCredentials {
				t.Fatalf("%s has %d credentials", id, len(list))
			}
		}
		w.existing[id] = list
	}
}

// Whatever there is: what was planned can be done in its order, the plan after it
// is empty, the order of the file does not matter, and others' credentials stay.
func FuzzPlan(f *testing.F) {
	for seed := range uint64(50) {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, a, b uint64) {
		r := rand.New(rand.NewPCG(a, b)) //nolint:gosec // a test's chance
		w := randomWorld(r)
		plan, err := w.file.Plan(w.targets(t), federation.Prune)
		if err != nil {
			if _, ok := errors.AsType[*federation.LimitError](err); !ok {
				t.Fatal(err)
			}
			return
		}
		shuffled := world{existing: w.existing, file: &federation.File{APIVersion: federation.APIVersion, Kind: federation.Kind}}
		for _, i := range r.Perm(len(w.file.Clusters)) {
			shuffled.file.Clusters = append(shuffled.file.Clusters, w.file.Clusters[i])
		}
		for _, i := range r.Perm(len(w.file.Identities)) {
			e := w.file.Identities[i]
			e.ServiceAccounts = slices.Clone(e.ServiceAccounts)
			r.Shuffle(len(e.ServiceAccounts), func(i, j int) {
				e.ServiceAccounts[i], e.ServiceAccounts[j] = e.ServiceAccounts[j], e.ServiceAccounts[i]
			})
			shuffled.file.Identities = append(shuffled.file.Identities, e)
		}
		again, err := shuffled.file.Plan(shuffled.targets(t), federation.Prune)
		if diff := cmp.Diff(plan.Changes, again.Changes, compareChanges()); diff != "" || err != nil {
			t.Errorf("the order of the file matters: %s %v", diff, err)
		}
		kept := map[string]federation.Credential{}
		for _, k := range plan.Kept {
			kept[k.Identity+" "+k.Credential.Name] = k.Credential
		}
		w.apply(t, plan)
		after, err := w.file.Plan(w.targets(t), federation.Prune)
		if err != nil || len(after.Changes) != 0 {
			t.Errorf("after it: %+v, %v", after.Changes, err)
		}
		for _, k := range after.Kept {
			if before, ok := kept[k.Identity+" "+k.Credential.Name]; !ok || before != k.Credential {
				t.Errorf("%s is kept now and was not", k.Credential.Name)
			}
			delete(kept, k.Identity+" "+k.Credential.Name)
		}
		if len(kept) != 0 {
			t.Errorf("no longer there: %v", kept)
		}
	})
}

func compareChanges() cmp.Option {
	return cmp.Comparer(func(a, b federation.Change) bool {
		return a.Action == b.Action && a.Identity == b.Identity && a.Name == b.Name && a.Issuer == b.Issuer && a.Subject == b.Subject && a.Audience == b.Audience
	})
}

// What import writes is the file of what there is, the same every time.
func FuzzImport(f *testing.F) {
	for seed := range uint64(50) {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, a, b uint64) {
		w := randomWorld(rand.New(rand.NewPCG(a, b))) //nolint:gosec // a test's chance
		targets := w.targets(t)
		text, err := federation.Import(targets, nil, audience)
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(targets)
		if again, err := federation.Import(targets, nil, audience); err != nil || string(again) != string(text) {
			t.Errorf("another order, another file: %v\n%s\n%s", err, text, again)
		}
		file, err := federation.Read("import", text)
		if err != nil {
			for _, list := range w.existing {
				if len(list) > 0 {
					t.Fatalf("%v\n%s", err, text)
				}
			}
			return
		}
		imported := world{file: file, existing: w.existing}
		plan, err := file.Plan(imported.targets(t), federation.Prune)
		if err != nil || len(plan.Changes) != 0 {
			t.Errorf("%v, %+v\n%s", err, plan.Changes, text)
		}
	})
}

const twoClusters = `
apiVersion: azwi/v1
kind: Federation
clusters:
  - {name: blue, issuer: "https://blue.example.com/"}
  - {name: green, issuer: "https://green.example.com/"}
identities:
  - {name: app, application: {name: orders}, serviceAccounts: [shop/a, shop/b]}
  - {name: managed, managedIdentity: ID, serviceAccounts: [shop/a, shop/b]}
`

// Stopped at any write, before or after Azure has done it, a second run does the
// rest and nothing else.
func TestInterruptedAtEveryWrite(t *testing.T) {
	t.Parallel()
	const writes = 10
	for _, afterwards := range []bool{false, true} {
		for stopAt := 1; stopAt <= writes; stopAt++ {
			t.Run(fmt.Sprintf("%d, answered %v", stopAt, afterwards), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { interruptAt(t, stopAt, afterwards, writes) })
			})
		}
	}
}

func interruptAt(t *testing.T, stopAt int, afterwards bool, writes int) {
	c := start(t, ordersSeed)
	both := both(t, c)
	// Something to change and something to remove as well.
	for _, identity := range both {
		changed := identity.Credential("shop", "a", "https://blue.example.com/", "api://old", "")
		unwanted := identity.Credential("shop", "old", "https://blue.example.com/", audience, "")
		for _, credential := range []federation.Credential{changed, unwanted} {
			if err := c.Put(t.Context(), identity, credential); err != nil {
				t.Fatal(err)
			}
		}
	}
	file, err := federation.Read("file", []byte(strings.Replace(twoClusters, "ID", both[1].ID(), 1)))
	if err != nil {
		t.Fatal(err)
	}
	plan := func() federation.Plan {
		targets, err := c.Targets(t.Context(), file, audience)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := file.Plan(targets, federation.Prune)
		if err != nil {
			t.Fatal(err)
		}
		return plan
	}
	first := plan()
	if len(first.Changes) != writes {
		t.Fatalf("%d changes planned, want %d", len(first.Changes), writes)
	}
	began := len(c.writes)
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	seen := 0
	if afterwards {
		c.after = func(*http.Request) error {
			if seen++; seen == stopAt {
				kill()
				return ctx.Err()
			}
			return nil
		}
	} else {
		c.before = func(*http.Request) *http.Response {
			if seen++; seen == stopAt {
				kill()
			}
			return nil
		}
	}
	err = c.Apply(ctx, first, func(federation.Change, error) {})
	stopped, ok := errors.AsType[*federation.Interrupted](err)
	if !ok || stopped.Of != writes || stopped.Made >= writes {
		t.Errorf("%v", err)
	}
	c.before, c.after = nil, nil
	synctest.Wait()
	done := len(c.writes) - began
	if err := c.Apply(t.Context(), plan(), func(federation.Change, error) {}); err != nil {
		t.Error(err)
	}
	if left := plan(); len(left.Changes) != 0 {
		t.Errorf("left over: %+v", left.Changes)
	}
	if all := len(c.writes) - began; all != writes {
		t.Errorf("%d writes in all, %d of them in the first run; want %d", all, done, writes)
	}
}

func TestMigration(t *testing.T) {
	t.Parallel()
	identity := managed("orders")
	const blue, green = "https://blue.example.com/", "https://green.example.com/"
	existing := []federation.Credential{
		identity.Credential("shop", "a", blue, audience, ""),
		{Name: "by-az", Issuer: blue, Subject: "system:serviceaccount:shop:b", Audience: "api://other"},
		{Name: "odd", Issuer: blue, Subject: "no service account", Audience: audience},
		{Name: "there", Issuer: green, Subject: "no service account", Audience: audience},
		{Name: "expression", Issuer: blue, Audience: audience},
		{Name: "another", Issuer: "https://x.example.com", Subject: "s", Audience: audience},
	}
	target := func(more ...federation.Credential) []federation.Target {
		return []federation.Target{{Identity: identity, Existing: slices.Concat(existing, more)}}
	}
	first, err := federation.Migration{From: blue, To: green}.Plan(target())
	if err != nil {
		t.Fatal(err)
	}
	var made []federation.Credential
	for _, c := range first.Changes {
		if c.Action != federation.Add || c.Issuer != green {
			t.Errorf("%+v", c)
		}
		made = append(made, federation.Credential{Name: c.Name, Issuer: c.Issuer, Subject: c.Subject, Audience: c.Audience})
	}
	want := []federation.Credential{
		identity.Credential("shop", "a", green, audience, ""),
		{Name: federation.ManagedCredentialName("shop", "b", green), Issuer: green, Subject: "system:serviceaccount:shop:b", Audience: "api://other"},
	}
	if diff := cmp.Diff(want, made, cmp.Comparer(func(a, b federation.Credential) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if len(first.Kept) != 1 || first.Kept[0].Credential.Name != "expression" {
		t.Errorf("kept: %+v", first.Kept)
	}
	// The old ones go only when all twins are there.
	drop := federation.Migration{From: blue, To: green, DropOld: true}
	if plan, err := drop.Plan(target(made[0])); err == nil || !strings.Contains(err.Error(), "shop:b of the new issuer is not there yet") {
		t.Errorf("%+v, %v", plan, err)
	}
	plan, err := drop.Plan(target(made...))
	if err != nil || plan.Count(federation.Remove) != 3 || len(plan.Changes) != 3 {
		t.Errorf("%+v, %v", plan, err)
	}
	for _, c := range plan.Changes {
		if c.Issuer != blue {
			t.Errorf("removes %+v", c)
		}
	}
	// A slash too few.
	_, err = federation.Migration{From: strings.TrimSuffix(blue, "/"), To: green}.Plan(target())
	if err == nil || !strings.Contains(err.Error(), "4 have "+blue) {
		t.Errorf("%v", err)
	}
	mistyped := federation.Migration{From: strings.Replace(blue, "blue", "bleu", 1), To: green}
	_, err = mistyped.Plan([]federation.Target{{Identity: identity, Existing: existing[:2]}})
	if err == nil || !strings.Contains(err.Error(), `did you mean "`+blue+`"?`) {
		t.Errorf("a mistyped issuer: %v", err)
	}
	// A credential that has already moved is not an error.
	if _, err := mistyped.Plan(target()); err != nil {
		t.Error(err)
	}
	for _, m := range []federation.Migration{{From: blue, To: blue}, {From: blue, To: "http://x"}, {From: blue, To: ""}} {
		if m.Check() == nil {
			t.Errorf("%+v is fine", m)
		}
	}
}

// Who made a credential decides whether it is removed.
func TestOwnership(t *testing.T) {
	t.Parallel()
	app := federation.Identity{Name: "app", ApplicationID: "33333333-0000-4000-8000-000000000001"}
	const blue, gone = "https://blue.example.com/", "https://gone.example.com/"
	described := func(c federation.Credential, text string) federation.Credential { c.Description = text; return c }
	foreign := federation.Credential{Name: "by-az", Issuer: blue, Subject: "system:serviceaccount:shop:x", Audience: audience}
	for _, test := range []struct {
		name         string
		identity     federation.Identity
		credential   federation.Credential
		apply, prune bool
	}{
		{"upstream's, by name", app, described(app.Credential("shop", "x", blue, audience, ""), ""), true, true},
		{"this file's", app, app.Credential("shop", "x", blue, audience, "shop"), true, true},
		{"another file's", app, app.Credential("shop", "x", blue, audience, "other"), false, false},
		{"serviceaccount create's", app, app.Credential("shop", "x", blue, audience, ""), true, true},
		{"a cluster that the file does not know", app, app.Credential("shop", "x", gone, audience, "shop"), false, true},
		{"of others", app, foreign, false, false},
		{"of others, described in their own words", app, described(foreign, "Made by azwin"), false, false},
		{"of others, marked", app, described(foreign, "Made by azwi"), true, true},
		{"managed, ours", managed("m"), managed("m").Credential("shop", "x", blue, audience, ""), true, true},
		{"managed, with an application's name", managed("m"), app.Credential("shop", "x", blue, audience, ""), true, true},
		{"managed, of others", managed("m"), foreign, false, false},
		{"an expression", managed("m"), federation.Credential{Name: "expression", Issuer: blue, Audience: audience}, false, false},
	} {
		f := &federation.File{Name: "shop", Clusters: []federation.Cluster{{Name: "blue", Issuer: blue}}}
		if test.name == "managed, with an application's name" {
			test.credential.Description, test.apply, test.prune = "", false, false // Resource Manager knows no such name
		}
		targets := []federation.Target{{Identity: test.identity, Existing: []federation.Credential{test.credential}}}
		for prune, want := range map[federation.Pruning]bool{federation.Keep: false, federation.Prune: test.apply, federation.PruneOnly: test.prune} {
			plan, err := f.Plan(targets, prune)
			if removed := len(plan.Changes) == 1; err != nil || removed != want || removed == (len(plan.Kept) == 1) {
				t.Errorf("%s, prune %v: removed %v, want %v, kept %+v, %v", test.name, prune, removed, want, plan.Kept, err)
			}
		}
	}
}
