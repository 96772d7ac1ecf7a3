package docs_test

import (
	"flag"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"azwi/contract"
	"azwi/internal/cli"
)

const root = "../.."

var update = flag.Bool("update", false, "write the reference pages")

// A page is a Markdown file of the repository.
type page struct {
	name string // below the repository's folder
	text string
}

// pages returns all that people read, without what is generated.
func pages(t *testing.T) []page {
	t.Helper()
	var all []page
	for _, top := range []string{"README.md", "CHANGELOG.md", "docs"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(file string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(file) != ".md" {
				return err
			}
			raw, err := os.ReadFile(file)
			name, _ := filepath.Rel(root, file)
			all = append(all, page{filepath.ToSlash(name), string(raw)})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(all) < 10 {
		t.Fatalf("only %d pages", len(all))
	}
	return all
}

func (p page) generated() bool { return strings.HasPrefix(p.name, "docs/reference/") }

// history pages tell of the past, when commands and flags may have been others.
func (p page) history() bool {
	return strings.HasPrefix(p.name, "docs/decisions/") || p.name == "CHANGELOG.md"
}

var (
	fence  = regexp.MustCompile("(?ms)^[ \t]*```.*?^[ \t]*```")
	link   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	scheme = regexp.MustCompile(`^[a-z]+:`)
)

// TestLinks: links within the repository lead to a file, and to a heading in it.
func TestLinks(t *testing.T) {
	t.Parallel()
	all := pages(t)
	headings := map[string]map[string]bool{}
	for _, p := range all {
		headings[p.name] = anchors(p.text)
	}
	checked := 0
	for _, p := range all {
		for _, found := range link.FindAllStringSubmatch(fence.ReplaceAllString(p.text, ""), -1) {
			if scheme.MatchString(found[1]) {
				continue
			}
			checked++
			file, anchor, _ := strings.Cut(found[1], "#")
			target := p.name
			if file != "" {
				target = path.Join(path.Dir(p.name), file)
			}
			if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(target))); err != nil {
				t.Errorf("%s: the link %s leads nowhere", p.name, found[1])
				continue
			}
			if known, isPage := headings[target]; anchor != "" && isPage && !known[anchor] {
				t.Errorf("%s: %s has no heading for #%s", p.name, target, anchor)
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d links", checked)
	}
}

// anchors are those of a page's headings, by GitHub's rule.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for line := range strings.Lines(fence.ReplaceAllString(text, "")) {
		title := strings.TrimLeft(line, "#")
		if title == line || !strings.HasPrefix(title, " ") {
			continue
		}
		found[strings.Map(func(r rune) rune {
			switch {
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			case r == ' ':
				return '-'
			}
			return -1
		}, strings.TrimSpace(title))] = true
	}
	return found
}

// TestCommands: each azwi command in a page exists, and takes the flags that it is
// given there.
func TestCommands(t *testing.T) {
	t.Parallel()
	azwi := cli.Command()
	checked := 0
	for _, p := range pages(t) {
		if p.history() || p.generated() {
			continue
		}
		for _, words := range commands(p.text) {
			checked++
			if words[0] == "help" {
				words = words[1:] // cobra adds it when it runs
			}
			command, rest, err := azwi.Find(words)
			if err != nil || command == azwi && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
				t.Errorf("%s: azwi has no such command: %q", p.name, words)
				continue
			}
			for _, word := range rest {
				if word == "--" {
					break // the rest is another program's
				}
				if name, ok := strings.CutPrefix(word, "--"); ok {
					name, _, _ = strings.Cut(name, "=")
					if flagOf(command, name) == nil {
						t.Errorf("%s: azwi %s has no flag --%s", p.name, strings.TrimPrefix(command.CommandPath(), "azwi "), name)
					}
				}
			}
		}
	}
	if checked < 40 {
		t.Errorf("only %d commands", checked)
	}
	t.Logf("%d commands", checked)
}

func flagOf(command *cobra.Command, name string) *pflag.Flag {
	if name == "help" || name == "version" {
		return &pflag.Flag{Name: name}
	}
	if f := command.Flags().Lookup(name); f != nil {
		return f
	}
	return command.InheritedFlags().Lookup(name)
}

var (
	shell  = regexp.MustCompile("(?ms)^```sh\n(.*?)^```")
	inline = regexp.MustCompile("(?s)`(azwi [^`]+)`")
)

// commands returns the words after azwi of each command that a page shows: lines of
// shell blocks, with what follows a backslash, and words in backticks.
func commands(text string) [][]string {
	var lines []string
	for _, block := range shell.FindAllStringSubmatch(text, -1) {
		lines = append(lines, strings.Split(strings.ReplaceAll(block[1], "\\\n", " "), "\n")...)
	}
	for _, span := range inline.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		lines = append(lines, span[1])
	}
	var all [][]string
	for _, line := range lines {
		for _, part := range regexp.MustCompile(`\||;|&&|#.*$`).Split(line, -1) {
			words := strings.Fields(strings.TrimSuffix(part, "..."))
			for len(words) > 0 && strings.Contains(words[0], "=") {
				words = words[1:] // the command's environment
			}
			if len(words) > 1 && words[0] == "azwi" {
				all = append(all, words[1:])
			}
		}
	}
	return all
}

// TestNames: keys, metrics and reference pages that a page names exist.
func TestNames(t *testing.T) {
	t.Parallel()
	keys := map[string]bool{}
	for _, k := range contract.Keys() {
		keys[k.Key] = true
	}
	metrics := metricNames(t)
	key := regexp.MustCompile(regexp.QuoteMeta(contract.Prefix) + `[a-z][a-z-]*[a-z]`)
	metric := regexp.MustCompile(`\bazwi_[a-z_]+[a-z]\b`)
	for _, p := range pages(t) {
		if p.history() {
			continue
		}
		for _, found := range key.FindAllString(p.text, -1) {
			known := keys[found] || strings.HasPrefix(found, contract.CustomTokenEndpointPrefix) ||
				slices.ContainsFunc(mistaken(), func(m string) bool { return contract.Prefix+m == found })
			if !known && !prefixOfKey(keys, found) {
				t.Errorf("%s: there is no label or annotation %s", p.name, found)
			}
		}
		for _, found := range metric.FindAllString(p.text, -1) {
			base := found
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				base = strings.TrimSuffix(base, suffix)
			}
			if !metrics[found] && !metrics[base] && found != "azwi_proxy" {
				t.Errorf("%s: there is no metric %s", p.name, found)
			}
		}
	}
}

// mistaken are keys that pages show as mistakes.
func mistaken() []string { return []string{"clientid", "clint-id", "user"} }

// prefixOfKey allows "the annotations that begin with".
func prefixOfKey(keys map[string]bool, text string) bool {
	for key := range keys {
		if strings.HasPrefix(key, text+"-") {
			return true
		}
	}
	return false
}

// TestReference: the reference pages say what the code says. With -update they are
// written.
func TestReference(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"azwi.md":        azwiReference(),
		"chart.md":       chartReference(t),
		"annotations.md": keyReference(t),
		"metrics.md":     metricReference(t),
		"programs.md":    programReference(t),
	} {
		file := filepath.Join(root, "docs", "reference", name)
		if *update {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := cmp.Diff(string(raw), text); diff != "" {
			t.Errorf("docs/reference/%s is not what the code says; run make generate (-page +code):\n%s", name, diff)
		}
	}
}
