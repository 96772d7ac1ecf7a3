package policy_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"azwi/internal/pod/inject/injecttest"
	"azwi/internal/pod/policy"
)

func config() policy.Config {
	return policy.Config{Settings: injecttest.Settings(), Version: "v1"}
}

// TestGenerate: for the settings of every golden case the same bytes twice, which
// read back as the same objects.
func TestGenerate(t *testing.T) {
	t.Parallel()
	cases, err := injecttest.Cases("../inject/testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range cases {
		c := config()
		c.Settings = g.Settings
		text := generate(t, c)
		if diff := cmp.Diff(text, generate(t, c)); diff != "" {
			t.Errorf("%s: the second time differs:\n%s", g.Name, diff)
		}
		objects, err := policy.Decode([]byte(text))
		if err != nil || len(objects) != 8 {
			t.Fatalf("%s: %d objects, %v", g.Name, len(objects), err)
		}
		for _, o := range objects {
			if lines := differences(t, o, o); len(lines) > 0 {
				t.Errorf("%s: %v", g.Name, lines)
			}
		}
		if want := "AZURE_TENANT_ID                    " + g.Settings.TenantID + "\n"; !strings.Contains(text, want) {
			t.Errorf("%s: the header does not name the tenant", g.Name)
		}
	}
}

func TestOrder(t *testing.T) {
	t.Parallel()
	objects, err := policy.Generate(config())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range objects {
		got = append(got, o.Kind+" "+o.Metadata.Name)
	}
	want := []string{
		"ValidatingAdmissionPolicy azure-wi-policy", "ValidatingAdmissionPolicyBinding azure-wi-policy",
		"ValidatingAdmissionPolicy azure-wi-policy-warnings", "ValidatingAdmissionPolicyBinding azure-wi-policy-warnings",
		"ValidatingAdmissionPolicy azure-wi-policy-accounts", "ValidatingAdmissionPolicyBinding azure-wi-policy-accounts",
		"MutatingAdmissionPolicy azure-wi-policy", "MutatingAdmissionPolicyBinding azure-wi-policy",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestMarks: settings that look like a pod's own values are refused, not mangled.
func TestMarks(t *testing.T) {
	t.Parallel()
	for _, image := range []string{"registry.example/@client@", "azwi/proxy:65529"} {
		c := config()
		c.Settings.Proxy.Image = image
		if _, err := policy.Generate(c); err == nil || !strings.Contains(err.Error(), "mark") {
			t.Errorf("image %s: %v", image, err)
		}
	}
}

// TestQuotes: whatever the settings contain ends up in a string, not in the program.
func TestQuotes(t *testing.T) {
	t.Parallel()
	const hostile = "a\"b\\c\nd' + variables.x + \u00e9"
	c := config()
	c.Settings.TenantID = hostile
	objects, err := policy.Generate(c)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := objects[6].JSON()
	if err != nil {
		t.Fatal(err)
	}
	inner, err := json.Marshal(hostile)
	if err != nil {
		t.Fatal(err)
	}
	outer, err := json.Marshal(string(inner))
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Trim(string(outer), `"`); !strings.Contains(string(raw), want) {
		t.Errorf("no %s in the policy", want)
	}
}

func TestDifferences(t *testing.T) {
	t.Parallel()
	labelled := config()
	labelled.LabelledAccounts = true
	a, err := policy.Generate(config())
	if err != nil {
		t.Fatal(err)
	}
	b, err := policy.Generate(labelled)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`MutatingAdmissionPolicyBinding azure-wi-policy: spec.paramRef.selector.matchLabels is {"azure.workload.identity/use":"true"}, which is not generated`}
	if diff := cmp.Diff(want, differences(t, a[7], b[7])); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	want = []string{`MutatingAdmissionPolicyBinding azure-wi-policy: spec.paramRef.selector.matchLabels is missing, generated is {"azure.workload.identity/use":"true"}`}
	if diff := cmp.Diff(want, differences(t, b[7], a[7])); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func differences(t *testing.T, want, installed policy.Object) []string {
	t.Helper()
	raw, err := installed.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	if err := json.Unmarshal(raw, &object); err != nil {
		t.Fatal(err)
	}
	lines, err := want.Differences(object)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func generate(t *testing.T, c policy.Config) string {
	t.Helper()
	objects, err := policy.Generate(c)
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.YAML(objects)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
