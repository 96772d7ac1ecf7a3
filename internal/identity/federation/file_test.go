package federation_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"azwi/internal/identity/federation"
)

// TestTooManyPairs: a small file asks for 60 million credentials. They are counted,
// not made.
func TestTooManyPairs(t *testing.T) {
	var text strings.Builder
	text.WriteString("apiVersion: azwi/v1\nkind: Federation\nclusters:\n")
	for i := range 20_000 {
		fmt.Fprintf(&text, "- {name: c%d, issuer: \"https://c%d.example\"}\n", i, i)
	}
	text.WriteString("identities:\n- name: web\n  application: {name: web}\n  serviceAccounts:\n")
	for i := range 3_000 {
		fmt.Fprintf(&text, "  - shop/a%d\n", i)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := federation.Read("f.yaml", []byte(text.String()))
	runtime.ReadMemStats(&after)
	const want = "f.yaml:20008: identities[0].serviceAccounts: identity web needs 60000000 federated credentials (3000 service accounts on 20000 clusters): an identity holds at most 20"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	allocated := (after.TotalAlloc - before.TotalAlloc) >> 20
	t.Logf("%d bytes read with %d MiB allocated", text.Len(), allocated)
	if allocated > 256 {
		t.Errorf("%d MiB allocated", allocated)
	}
}

func TestMistypedCluster(t *testing.T) {
	t.Parallel()
	_, err := federation.Read("f", []byte(`{apiVersion: azwi/v1, kind: Federation, clusters: [{name: blue, issuer: "https://blue.example.com/"}],
		identities: [{name: a, application: {name: a}, clusters: [bleu], serviceAccounts: [shop/a]}]}`))
	if err == nil || !strings.Contains(err.Error(), `did you mean "blue"?`) {
		t.Errorf("%v", err)
	}
}
