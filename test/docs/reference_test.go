package docs_test

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"azwi/contract"
	"azwi/internal/cli"
	"azwi/test/product"
)

const generatedBy = "<!-- Written from the code by make generate; edits are lost. -->\n\n"

// azwiReference has each command with its flags.
func azwiReference() string {
	var b strings.Builder
	b.WriteString("# azwi: commands and flags\n\n" + generatedBy)
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Hidden || c.Name() == "help" || c.Name() == "completion" && c.HasParent() && c.Parent().HasParent() {
			return
		}
		if c.Runnable() && c.HasParent() {
			fmt.Fprintf(&b, "## %s\n\n%s.\n\n    %s\n\n", c.CommandPath(), strings.TrimSuffix(c.Short, "."), c.UseLine())
			writeFlags(&b, c.LocalNonPersistentFlags(), c.InheritedFlags())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(cli.Command())
	return b.String()
}

func writeFlags(b *strings.Builder, sets ...*pflag.FlagSet) {
	var rows []string
	for _, set := range sets {
		set.VisitAll(func(f *pflag.Flag) {
			if f.Hidden || f.Name == "help" || f.Name == "debug" || f.Name == "color" {
				return
			}
			name := "--" + f.Name
			if f.Shorthand != "" {
				name = "-" + f.Shorthand + ", " + name
			}
			kind, usage := pflag.UnquoteUsage(f)
			if kind != "" {
				name += " " + kind
			}
			if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0" && f.DefValue != "0s" && !strings.Contains(usage, "(default") {
				usage += " (default " + f.DefValue + ")"
			}
			rows = append(rows, "| `"+name+"` | "+cell(usage)+" |\n")
		})
	}
	if len(rows) == 0 {
		return
	}
	slices.Sort(rows)
	b.WriteString("| flag | meaning |\n| --- | --- |\n" + strings.Join(rows, "") + "\n")
}

func cell(text string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ", "<", "&lt;").Replace(text)
}

// chartReference has each value of the chart with its default and comment.
func chartReference(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, "charts/workload-identity-webhook/values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(raw, &document); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("# Values of the chart workload-identity-webhook\n\n" + generatedBy + "| value | default | meaning |\n| --- | --- | --- |\n")
	var walk func(prefix string, n *yaml.Node)
	walk = func(prefix string, n *yaml.Node) {
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			name := prefix + key.Value
			comment := strings.TrimSpace(regexp.MustCompile(`(?m)^#\s?`).ReplaceAllString(key.HeadComment, ""))
			if parts := strings.Split(comment, "\n\n"); len(parts) > 1 {
				comment = parts[len(parts)-1] // what comes before is a section's title
			}
			inner := value.Kind == yaml.MappingNode && len(value.Content) > 0
			if !inner || comment != "" {
				fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, defaultOf(value, inner), cell(comment))
			}
			if inner {
				walk(name+".", value)
			}
		}
	}
	walk("", document.Content[0])
	return b.String()
}

func defaultOf(n *yaml.Node, inner bool) string {
	if inner {
		return ""
	}
	if n.Tag == "!!null" || n.Kind == yaml.ScalarNode && n.Value == "" {
		return ""
	}
	copied := *n
	copied.Style, copied.HeadComment, copied.LineComment, copied.FootComment = yaml.FlowStyle, "", "", ""
	raw, err := yaml.Marshal(&copied)
	if err != nil {
		return ""
	}
	return "`" + cell(strings.TrimSpace(string(raw))) + "`"
}

// A constant is one of package contract with its comment.
type constant struct{ name, value, comment string }

// constants returns the string constants of a file of package contract, in its order.
func constants(t *testing.T, name string) []constant {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, filepath.Join(root, "contract", name), nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	var all []constant
	for _, d := range file.Decls {
		group, ok := d.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		comment := ""
		for _, s := range group.Specs {
			spec := s.(*ast.ValueSpec) // as the members of a group of constants are
			if spec.Doc != nil {
				comment = strings.Join(strings.Fields(spec.Doc.Text()), " ")
			}
			for i, name := range spec.Names {
				if i >= len(spec.Values) {
					continue
				}
				if value, ok := text(spec.Values[i], values); ok {
					values[name.Name] = value
					all = append(all, constant{name.Name, value, comment})
				}
			}
		}
	}
	return all
}

// text evaluates literals, names of other constants, and sums of them.
func text(e ast.Expr, known map[string]string) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		return s, err == nil && e.Kind == token.STRING
	case *ast.Ident:
		s, ok := known[e.Name]
		return s, ok
	case *ast.BinaryExpr:
		a, okA := text(e.X, known)
		b, okB := text(e.Y, known)
		return a + b, okA && okB
	}
	return "", false
}

// keyReference has each label, annotation, setting and environment variable.
func keyReference(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("# Labels, annotations, settings and environment variables\n\n" + generatedBy)
	b.WriteString("## Labels and annotations\n\nOf several places, the first that has the key counts. An annotation with a setting as its default takes that one's place.\n\n" +
		"| key | where | meaning | values | default | since |\n| --- | --- | --- | --- | --- | --- |\n")
	flags := map[string]string{}
	for _, s := range contract.ClusterDefaults() {
		flags[s.Annotation] = "the webhook's `--" + s.Flag + "`"
	}
	for _, k := range contract.Keys() {
		var places []string
		for _, p := range k.Places {
			places = append(places, string(p))
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", k.Key, strings.Join(places, ", "), cell(k.Doc), k.Type, cmp.Or(k.Default, flags[k.Key]), k.Since)
	}
	b.WriteString("\n## Settings of the cluster\n\nChoices of injection, for the webhook and for `azwi policy generate`: flags, or variables of the process. The chart sets them from its values.\n\n" +
		"| flag or variable | value of the chart | meaning | values | default |\n| --- | --- | --- | --- | --- |\n")
	for _, s := range contract.Settings() {
		name, standard := s.Env, ""
		if s.Flag != "" {
			name = "--" + s.Flag
		}
		if s.Default != "" {
			standard = "`" + s.Default + "`"
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s | %s |\n", name, s.Value, cell(s.Doc), s.Type, standard)
	}
	all := constants(t, "contract.go")
	explain := func(c constant) string {
		// "NAME is the default identity" reads "the default identity" beside the key.
		c.comment = strings.TrimPrefix(strings.TrimPrefix(c.comment, c.name+" "), "is ")
		for _, other := range all {
			c.comment = regexp.MustCompile(`\b`+other.name+`\b`).ReplaceAllString(c.comment, "`"+other.value+"`")
		}
		return cell(c.comment)
	}
	b.WriteString("\n## Environment variables\n\n| variable | meaning |\n| --- | --- |\n")
	for _, c := range all {
		if strings.HasPrefix(c.name, "Env") {
			fmt.Fprintf(&b, "| `%s` | %s |\n", c.value, explain(c))
		}
	}
	return b.String()
}

var metric = regexp.MustCompile(`Name:\s+"(azwi_[a-z_]+)",\s+Help:\s+"((?:[^"\\]|\\.)*)"`)

// metricHelp returns the metrics of the webhook and of the proxy with their texts.
func metricHelp(t *testing.T) (names []string, help map[string]string) {
	t.Helper()
	help = map[string]string{}
	add := func(name, text string) { names, help[name] = append(names, name), text }
	raw, err := os.ReadFile(filepath.Join(root, "internal/admission/webhook/metrics.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range metric.FindAllSubmatch(raw, -1) {
		add(string(m[1]), string(m[2]))
	}
	raw, err = os.ReadFile(filepath.Join(root, "internal/token/proxy/metrics.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`head\("([a-z_]+)", "(?:counter|gauge|histogram)", "([^"]+)"\)`).FindAllSubmatch(raw, -1) {
		add("azwi_proxy_"+string(m[1]), string(m[2]))
	}
	if len(names) < 10 {
		t.Fatalf("only %d metrics: %q", len(names), names)
	}
	return names, help
}

func metricNames(t *testing.T) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	names, _ := metricHelp(t)
	for _, name := range names {
		known[name] = true
	}
	return known
}

func metricReference(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("# Metrics\n\n" + generatedBy + "The webhook serves them at `--metrics-addr`, `/metrics`; so does the proxy where it is given that flag.\n\n" +
		"| metric | meaning |\n| --- | --- |\n")
	names, help := metricHelp(t)
	for _, name := range names {
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, cell(help[name]))
	}
	return b.String()
}

// programReference has what the other programs print for --help.
func programReference(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var b strings.Builder
	b.WriteString("# Flags of azwi-webhook, azwi-proxy and azwi-emulator\n\n" + generatedBy)
	for _, program := range []string{"azwi-webhook", "azwi-proxy", "azwi-emulator"} {
		binary, err := product.Build(t.Context(), dir, program, false)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), binary, "--help")
		out, _ := cmd.CombinedOutput() // its exit code is that of a wrong call
		if !bytes.Contains(out, []byte("--")) && !bytes.Contains(out, []byte("  -")) {
			t.Fatalf("%s --help: %s", program, out)
		}
		fmt.Fprintf(&b, "## %s\n\n```\n%s```\n\n", program, strings.ReplaceAll(string(out), "\t", "    "))
	}
	return strings.TrimSuffix(b.String(), "\n")
}
