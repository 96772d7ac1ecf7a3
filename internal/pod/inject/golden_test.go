package inject_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"

	"azwi/internal/pod/inject"
	"azwi/internal/pod/inject/injecttest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden holds what injection makes of every case in testdata.
func TestGolden(t *testing.T) {
	t.Parallel()
	cases, err := injecttest.Cases("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			got := outcome(t, c)
			if *update {
				if err := c.Accept(got); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(c.Want, got); diff != "" {
				t.Errorf("-want +got (run with -update to accept):\n%s", diff)
			}
		})
	}
}

// TestGoldenKeys: each label and annotation is in a case.
func TestGoldenKeys(t *testing.T) {
	t.Parallel()
	cases, err := injecttest.Cases("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range inject.Places() {
		for _, key := range p.Keys {
			if !slices.ContainsFunc(cases, func(c *injecttest.Case) bool {
				return has(c.Account.Annotations, key) || bytes.Contains(c.Pod, []byte(strconv.Quote(key)))
			}) {
				t.Errorf("no case has %s", key)
			}
		}
	}
}

func has(m map[string]string, key string) bool { _, ok := m[key]; return ok }

func outcome(t *testing.T, c *injecttest.Case) string {
	t.Helper()
	res := mustInject(t, c.Pod, c.Account, c.Settings)
	var out strings.Builder
	if res.Denial != nil {
		fmt.Fprintf(&out, "denied %s: %s\n", res.Denial.Code(), res.Denial.Text())
	}
	for _, op := range res.Patch {
		line, err := json.Marshal(op)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s\n", line)
	}
	for _, w := range res.Warnings {
		fmt.Fprintf(&out, "warning %s: %s\n", w.Code(), w.Text())
	}
	if out.Len() == 0 {
		return "unchanged\n"
	}
	// Whatever the case, a second pass has nothing left to do.
	if again := mustInject(t, apply(t, c.Pod, res.Patch), c.Account, c.Settings); len(again.Patch) != 0 {
		t.Errorf("a second pass changes the pod again: %+v", again.Patch)
	}
	return out.String()
}

func mustInject(t *testing.T, pod []byte, account inject.Account, settings inject.Settings) inject.Result {
	t.Helper()
	p, err := inject.Parse(pod)
	if err != nil {
		t.Fatal(err)
	}
	return p.Inject(account, settings)
}

// apply applies a patch with the library that the API server uses.
func apply(t *testing.T, pod []byte, ops []inject.Op) []byte {
	t.Helper()
	if len(ops) == 0 {
		return pod
	}
	patched, err := applyPatch(pod, ops)
	if err != nil {
		t.Fatalf("the patch does not apply: %v", err)
	}
	return patched
}

func applyPatch(pod []byte, ops []inject.Op) ([]byte, error) {
	raw, err := json.Marshal(ops)
	if err != nil {
		return nil, err
	}
	patch, err := jsonpatch.DecodePatch(raw)
	if err != nil {
		return nil, err
	}
	return patch.Apply(pod)
}
