package lint_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"azwi/internal/inject"
	"azwi/internal/lint"
	"azwi/internal/manifest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// A section of docs/lint.md.
type section struct{ name, severity, wrong, right string }

func sections(t testing.TB) []section {
	t.Helper()
	raw, err := os.ReadFile("../../docs/lint.md")
	if err != nil {
		t.Fatal(err)
	}
	heading := regexp.MustCompile("^`([a-z0-9-]+)` \\((error|warning|info)\\)\n")
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```\n")
	var all []section
	for _, part := range strings.Split(string(raw), "\n### ")[1:] {
		found := heading.FindStringSubmatch(part)
		if found == nil {
			t.Fatalf("a heading is not `RULE` (SEVERITY): %.40q", part)
		}
		s := section{name: found[1], severity: found[2]}
		blocks := block.FindAllStringSubmatch(part, -1)
		if len(blocks) == 0 || len(blocks) > 2 {
			t.Fatalf("%s has %d examples", s.name, len(blocks))
		}
		s.wrong = blocks[0][1]
		if len(blocks) == 2 {
			s.right = blocks[1][1]
		}
		all = append(all, s)
	}
	return all
}

// TestDocs: docs/lint.md has every rule with its severity, and its examples are
// what they say.
func TestDocs(t *testing.T) {
	t.Parallel()
	var documented, rules []string
	for _, s := range sections(t) {
		documented = append(documented, s.name+" "+s.severity)
		if !finds(s.wrong, s.name) {
			t.Errorf("%s: its example is not found", s.name)
		}
		if others := names(s.wrong, s.name, "account-not-in-input"); len(others) > 0 {
			t.Errorf("%s: its example shows %v too", s.name, others)
		}
		if s.right != "" {
			if found := names(s.right, "account-not-in-input"); len(found) > 0 {
				t.Errorf("%s: its right example shows %v", s.name, found)
			}
		}
	}
	for _, r := range lint.Rules() {
		rules = append(rules, r.Name+" "+r.Severity.String())
	}
	if diff := cmp.Diff(rules, documented); diff != "" {
		t.Errorf("-rules +docs/lint.md:\n%s", diff)
	}
}

func finds(text, name string) bool { return slices.Contains(names(text), name) }

// names are those of the rules that find something, but for some.
func names(text string, but ...string) []string {
	var all []string
	for _, f := range lint.Lint([]*manifest.File{manifest.Parse("x", []byte(text))}, lint.Config{}) {
		if !slices.Contains(but, f.Rule) {
			all = append(all, f.Rule)
		}
	}
	return all
}

// TestGolden holds places and words.
func TestGolden(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatal("no golden cases", err)
	}
	for _, name := range cases {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var files []*manifest.File
			var want string
			inputs := archive.Files[:0:0]
			for _, f := range archive.Files {
				if f.Name == "want" {
					want = string(f.Data)
					continue
				}
				files = append(files, manifest.Parse(f.Name, f.Data))
				inputs = append(inputs, f)
			}
			var got strings.Builder
			for _, f := range lint.Lint(files, lint.Config{Namespace: "shop"}) {
				fmt.Fprintf(&got, "%s %s %s %s/%s: %s\n", f.Position, f.Rule, f.Kind, f.Namespace, f.Name, f.Message)
			}
			if *update {
				archive.Files = append(inputs, txtar.File{Name: "want", Data: []byte(got.String())})
				if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got.String()); diff != "" {
				t.Errorf("-want +got (run with -update to accept):\n%s", diff)
			}
		})
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := lint.CheckRules([]string{"syntax", "no-such-rule"}); err == nil {
		t.Error("an unknown rule is not refused")
	}
	for _, s := range sections(t) {
		files := []*manifest.File{manifest.Parse("x", []byte(s.wrong))}
		for _, f := range lint.Lint(files, lint.Config{Disabled: []string{s.name}}) {
			if f.Rule == s.name {
				t.Errorf("%s is disabled, but finds %s", s.name, f.Message)
			}
		}
		if s.name == "token-path" {
			if found := lint.Lint(files, lint.Config{Layout: inject.LayoutBoth}); len(found) != 1 {
				t.Errorf("with both layouts: %v", found)
			}
		}
	}
}

// FuzzLint: whatever the text, nothing panics, and every finding is in the file.
func FuzzLint(f *testing.F) {
	for _, s := range sections(f) {
		f.Add([]byte(s.wrong))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		lines := strings.Count(string(text), "\n") + strings.Count(string(text), "\r") + strings.Count(string(text), "\u0085") +
			strings.Count(string(text), "\u2028") + strings.Count(string(text), "\u2029") + 1
		for _, f := range lint.Lint([]*manifest.File{manifest.Parse("x", text)}, lint.Config{}) {
			if f.Position.Line < 1 || f.Position.Line > lines || f.Position.Column < 1 || f.Message == "" {
				t.Errorf("%+v", f)
			}
		}
	})
}
