package cli_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDocs: every command of these guides is run by a script, in the same order. A
// script may have more, and signs in with $OPERATOR.
func TestDocs(t *testing.T) {
	t.Parallel()
	for guide, script := range map[string]string{
		"../../docs/migration.md": "testdata/podidentity/migration.txtar",
		"../../docs/upgrade.md":   "testdata/serviceaccount/upgrade.txtar",
	} {
		raw, err := os.ReadFile(guide)
		if err != nil {
			t.Fatal(err)
		}
		var documented []string
		for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(raw), -1) {
			documented = append(documented, strings.Split(strings.TrimSpace(block[1]), "\n")...)
		}
		if len(documented) == 0 {
			t.Errorf("%s has no commands", guide)
		}
		raw, err = os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		var run []string
		next := 0
		for line := range strings.Lines(string(raw)) {
			line = strings.NewReplacer("exec $KUBE ", "", "exec ", "", " --client-id $OPERATOR", "").Replace(strings.TrimSpace(line))
			if next < len(documented) && line == documented[next] {
				run = append(run, line)
				next++
			}
		}
		if diff := cmp.Diff(documented, run); diff != "" {
			t.Errorf("-%s +%s:\n%s", guide, script, diff)
		}
	}
}
