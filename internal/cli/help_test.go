package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"azwi/internal/cli/command"
)

// everyCommand is all commands but those that cobra makes.
func everyCommand() []*cobra.Command {
	var all []*cobra.Command
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		all = append(all, c)
		for _, sub := range c.Commands() {
			if sub.Name() != "completion" && sub.Name() != "help" {
				walk(sub)
			}
		}
	}
	walk(Command())
	return all
}

var anotherLine = regexp.MustCompile(`\\\n\s*`)

// TestHelp: help fits a screen, examples parse, and what is left out is in a page.
func TestHelp(t *testing.T) {
	t.Parallel()
	for _, c := range everyCommand() {
		help := command.Help(c, false)
		if n := strings.Count(help, "\n"); n > command.Height {
			t.Errorf("%s: help of %d lines:\n%s", c.CommandPath(), n, help)
		}
		for line := range strings.SplitSeq(help+command.Help(c, true), "\n") {
			if utf8.RuneCountInString(line) > command.Width {
				t.Errorf("%s: a line of %d columns: %s", c.CommandPath(), utf8.RuneCountInString(line), line)
			}
		}
		if !c.Runnable() {
			t.Errorf("%s does not run", c.CommandPath())
		}
		if _, page, ok := strings.Cut(help, "Read more: "); ok {
			if _, err := os.Stat(filepath.Join("../..", strings.TrimSpace(page))); err != nil {
				t.Error(err)
			}
		}
		for line := range strings.SplitSeq(anotherLine.ReplaceAllString(c.Example, ""), "\n") {
			checkExample(t, line)
		}
	}
}

// checkExample parses what an example says to azwi.
func checkExample(t *testing.T, line string) {
	t.Helper()
	_, words, ok := strings.Cut(line, "azwi ")
	if !ok {
		return
	}
	words, _, _ = strings.Cut(words, " | ")
	words, _, _ = strings.Cut(words, " > ")
	words, _, _ = strings.Cut(words, " #")
	root := Command()
	c, rest, err := root.Find(strings.Fields(strings.ReplaceAll(words, `"`, "")))
	if err != nil || c == root {
		t.Errorf("%s: no such command: %v", line, err)
		return
	}
	if err := c.ParseFlags(rest); err != nil {
		t.Errorf("%s: %v", line, err)
		return
	}
	if err := c.ValidateArgs(c.Flags().Args()); err != nil {
		t.Errorf("%s: %v", line, err)
	}
}

// TestTypos: a mistake names what was meant, and the command whose help helps.
func TestTypos(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"install --dryrun":                "did you mean --dry-run? See azwi install --help",
		"federation plan --purne":         "did you mean --prune? See azwi federation plan --help",
		"policy genrate":                  `did you mean "generate"? (see azwi policy --help)`,
		"serviceaccount create phase x":   "azwi serviceaccount create phase --help",
		"lnt":                             `did you mean "lint"? (see azwi --help)`,
		"version --nonsense":              "unknown flag: --nonsense (see azwi version --help)",
		"exec":                            "azwi exec --service-account NAMESPACE/NAME -- COMMAND",
		"token shop/orders":               "--resource is required",
		"token shop/orders shop/worker":   "accepts at most 1 arg(s), received 2",
		"serviceaccount create phse":      `did you mean "phase"? (see azwi serviceaccount create --help)`,
		"serviceaccount create a b":       `unknown command "a"`,
		"sa create phase sa a":            `unknown command "a"`,
		"sa delete a --service-account b": "give the service account once",
	} {
		code, _, log := azwi(t, strings.Fields(args)...)
		if code != command.ExitError || !strings.Contains(log, want) {
			t.Errorf("azwi %s: code %d, %s", args, code, log)
		}
	}
}

// TestHelpAll: --help=all shows what --help names only.
func TestHelpAll(t *testing.T) {
	t.Parallel()
	_, short, _ := azwi(t, "serviceaccount", "create", "--help")
	_, all, _ := azwi(t, "serviceaccount", "create", "--help=all")
	if strings.Contains(short, "--graph-endpoint") || !strings.Contains(short, "other clouds") || !strings.Contains(all, "--graph-endpoint") {
		t.Errorf("%s\n%s", short, all)
	}
}

// TestGrammar: a short flag means the same in every command, and names that belong
// together come together.
func TestGrammar(t *testing.T) {
	t.Parallel()
	short := map[string][]string{
		"n": {"namespace"}, "f": {"filename", "values"}, "o": {"output", "output-dir"}, "s": {"subscription-id"}, "y": {"yes"},
		"A": {"all-namespaces"}, "R": {"recursive"}, "h": {"help"}, "v": {"version"},
		"p": {"proxy-port"}, // upstream's
	}
	for _, c := range everyCommand() {
		flags := c.NonInheritedFlags()
		flags.VisitAll(func(f *pflag.Flag) {
			if f.Shorthand != "" && !slices.Contains(short[f.Shorthand], f.Name) {
				t.Errorf("%s: -%s is --%s, want one of %v", c.CommandPath(), f.Shorthand, f.Name, short[f.Shorthand])
			}
			for letter, names := range short {
				if f.Shorthand == "" && names[0] == f.Name && flags.ShorthandLookup(letter) == nil {
					t.Errorf("%s: --%s lacks its short form -%s", c.CommandPath(), f.Name, letter)
				}
			}
			if strings.HasSuffix(f.Usage, ".") || strings.Contains(f.Usage, "the same of") {
				t.Errorf("%s: --%s: %q", c.CommandPath(), f.Name, f.Usage)
			}
		})
		if flags.Lookup("context") != nil && flags.Lookup("kubeconfig") == nil {
			t.Errorf("%s: --context without --kubeconfig", c.CommandPath())
		}
		if removes := flags.Lookup("yes") != nil; removes && flags.Lookup("dry-run") == nil {
			t.Errorf("%s: --yes without --dry-run", c.CommandPath())
		}
	}
}

// TestChoicesComplete: a shell offers the values of every flag that has a list of them.
func TestChoicesComplete(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ line, want string }{
		{"install --engine ", "policy"}, {"upgrade --engine ", "auto"}, {"federation list --auth-method ", "client_secret"},
		{"token --azure-env ", "AzureChinaCloud"}, {"inject --proxy-mode ", "redirect"}, {"policy generate --token-path ", "v1.5.1"},
		{"inject --log-level ", "trace"}, {"serviceaccount create --skip-phases ", "role-assignment"}, {"status --output ", "yaml"},
		{"lint --fail-on ", "warning"}, {"explain -o ", "json"},
	} {
		code, out, stderr := azwi(t, append([]string{"__complete"}, strings.Split(test.line, " ")...)...)
		if code != ExitOK || !slices.Contains(strings.Fields(out), test.want) {
			t.Errorf("%s: code %d, %q lacks %s; %s", test.line, code, out, test.want, stderr)
		}
	}
}
