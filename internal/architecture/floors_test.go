package architecture

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// floors lists the neighbourhoods by floor, from the top. A package may import from its own
// neighbourhood and from floors below; neighbourhoods on one floor must not import each other.
func floors() [][]string {
	return [][]string{
		{"cmd"},
		{"internal/cli"},
		{"internal/doctor"},
		{"internal/install", "internal/migrate"},
		{"internal/identity", "internal/admission"},
		{"internal/pod"},
		{"internal/azure", "internal/kube"}, // signing in to Azure needs an assertion
		{"internal/token"},
		{
			"internal/connlimit", "internal/document", "internal/memlimit", "internal/oidc", "internal/plainfile", "internal/sarif",
			"internal/spelling", "internal/loglevel",
		},
		{"internal/atomicfile", "internal/finding", "internal/guid", "internal/httpsurl", "internal/jwt", "internal/retryafter", "internal/terminal", "internal/version", "charts"},
		{"contract"},
	}
}

// outside reports whether the floors do not apply to a package.
func outside(name string) bool {
	return name == "internal/architecture" || name == "emulator" || strings.HasPrefix(name, "emulator/") || name == "cmd/azwi-emulator"
}

// home returns the floor and the neighbourhood of a package.
func home(name string) (floor int, neighbourhood string) {
	for i, floor := range floors() {
		for _, n := range floor {
			if name == n || strings.HasPrefix(name, n+"/") {
				return i, n
			}
		}
	}
	return -1, ""
}

// wrongWay returns imports that lead up or sideways, and packages that are on no floor.
func wrongWay(packages []pkg) []string {
	var wrong []string
	for _, p := range packages {
		if outside(p.moduleRelative) {
			continue
		}
		from, neighbourhood := home(p.moduleRelative)
		if from < 0 {
			wrong = append(wrong, p.moduleRelative+" is on no floor")
			continue
		}
		for _, imported := range p.Imports {
			name, ours := strings.CutPrefix(imported, module+"/")
			if !ours || outside(name) {
				continue
			}
			to, other := home(name)
			if other != neighbourhood && to <= from {
				wrong = append(wrong, fmt.Sprintf("%s (floor %d) imports %s (floor %d)", p.moduleRelative, from, name, to))
			}
		}
	}
	slices.Sort(wrong)
	return wrong
}

func TestArrowsPointDown(t *testing.T) {
	t.Parallel()
	for _, w := range wrongWay(list(t, root)) {
		t.Error(w)
	}
}

func TestWrongWaysAreSeen(t *testing.T) {
	t.Parallel()
	got := wrongWay([]pkg{
		{moduleRelative: "internal/pod/inject", Imports: []string{"fmt", "azwi/internal/pod/manifest", "azwi/contract", "azwi/internal/cli"}},
		{moduleRelative: "internal/azure/arm", Imports: []string{"azwi/internal/kube", "azwi/internal/token/entra"}},
		{moduleRelative: "internal/elsewhere", Imports: []string{"azwi/contract"}},
	})
	want := []string{
		"internal/azure/arm (floor 6) imports internal/kube (floor 6)",
		"internal/elsewhere is on no floor",
		"internal/pod/inject (floor 5) imports internal/cli (floor 1)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
