package lint

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"azwi/internal/cli/command"
	"azwi/internal/cli/manifests"
	"azwi/internal/finding"
	"azwi/internal/pod/inject"
	"azwi/internal/pod/lint"
	"azwi/internal/pod/manifest"
	"azwi/internal/terminal"
)

// lintOptions are the flags of azwi lint.
type lintOptions struct {
	manifests.Options
	output  string
	failOn  string
	disable []string
	layout  string
	rules   bool

	set           []string
	envFile       string
	rendered      bool
	nativeSidecar bool
}

// New makes the command.
func New(r *command.Env) *cobra.Command {
	var o lintOptions
	c := &cobra.Command{
		Use: "lint -f FILE|FOLDER|-", Short: "Find mistakes of workload identity in manifests",
		Long: `Find mistakes of workload identity in manifests, with line and column of each.

Exit code: 0 nothing that --fail-on names, 2 mistakes, 1 failure.`,
		Annotations: map[string]string{command.Docs: "docs/lint.md"},
		Example: `  azwi lint -f deploy/ -R
  helm template shop ./chart | azwi lint -f - -n shop
  azwi lint -f deploy/ --output github --fail-on warning`,
		RunE: func(*cobra.Command, []string) error { return lintManifests(o, r) },
	}
	o.Register(c)
	command.OutputFlagOf(c, &o.output, "text", "json", "github")
	c.Flags().StringVar(&o.failOn, "fail-on", "error", "lowest severity that makes the exit code 2: error, warning, info, or none")
	c.Flags().StringSliceVar(&o.disable, "disable", nil, "rules to leave out, comma-separated; repeatable")
	c.Flags().StringVar(&o.layout, "token-path", inject.LayoutV16.String(), "the webhook's --token-path: v1.6.0, v1.5.1 or both")
	c.Flags().StringArrayVar(&o.set, "set", nil, "value of a placeholder, NAME=VALUE; repeatable")
	c.Flags().StringVar(&o.envFile, "env-file", "", "file of values of placeholders: lines NAME=VALUE")
	c.Flags().BoolVar(&o.rendered, "rendered", false, "the input is what will be applied: a placeholder in it is an error")
	c.Flags().BoolVar(&o.nativeSidecar, "native-sidecar", true, "the cluster has native sidecars: Kubernetes 1.32 or later")
	c.Flags().BoolVar(&o.rules, "rules", false, "list the rules and exit")
	command.Complete(c, "fail-on", "error", "warning", "info", "none")
	command.Complete(c, "token-path", "v1.6.0", "v1.5.1", "both")
	var names []string
	for _, rule := range lint.Rules() {
		names = append(names, string(rule.Code)+"\t"+rule.Title)
	}
	command.Complete(c, "disable", names...)
	return c
}

func lintManifests(o lintOptions, r *command.Env) error {
	if o.rules {
		for _, rule := range lint.Rules() {
			r.Out.Printf("%-24s %-8s %s\n", rule.Code, rule.Severity, rule.Title)
		}
		return nil
	}
	config := lint.Config{Namespace: o.Namespace, Disabled: o.disable}
	if err := lint.CheckRules(o.disable); err != nil {
		return fmt.Errorf("--disable: %w", err)
	}
	if err := config.Layout.UnmarshalText([]byte(o.layout)); err != nil {
		return fmt.Errorf("--token-path: %w", err)
	}
	var failOn finding.Severity
	if o.failOn != "none" {
		if err := failOn.UnmarshalText([]byte(o.failOn)); err != nil {
			return fmt.Errorf("--fail-on: %w, or none", err)
		}
	}
	values, err := o.values()
	if err != nil {
		return err
	}
	if config.Kinds, err = o.Shapes(); err != nil {
		return err
	}
	config.Rendered, config.OrdinarySidecar = o.rendered, !o.nativeSidecar
	config.Quiet = o.output == "github"
	files, err := o.Read(r.In)
	if err != nil {
		return err
	}
	files, config.Filled = lint.Fill(files, values)
	found := lint.Lint(files, config)
	others := otherFiles(files)
	if err := writeFindings(r, o.output, found, others); err != nil {
		return err
	}
	if len(others) > 0 {
		r.Err.Printf("note: not Kubernetes manifests, so not checked: %s\n", someOf(others))
	}
	var failed bool
	for _, f := range found {
		failed = failed || f.Severity <= failOn
	}
	if failed {
		return command.Exit(command.ExitDifferent, fmt.Errorf("%s", tally(found)))
	}
	if o.output == "text" {
		r.Err.Printf("files: %d, %s\n", len(files), tally(found))
	}
	return nil
}

// values reads those of --env-file and --set, which goes before.
func (o *lintOptions) values() (map[string]string, error) {
	values := map[string]string{}
	var mistakes []error
	add := func(where, line string) {
		name, value, ok := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		err := lint.CheckValue(name, value)
		if !ok {
			err = fmt.Errorf("%q: write NAME=VALUE", line)
		}
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s: %w", where, err))
			return
		}
		values[name] = value
	}
	if o.envFile != "" {
		text, err := manifests.ReadFile(o.envFile)
		if err != nil {
			return nil, fmt.Errorf("--env-file: %w", err)
		}
		for number, line := range strings.Split(strings.TrimPrefix(string(text), "\ufeff"), "\n") {
			line = strings.TrimPrefix(strings.TrimSpace(line), "export ")
			if line == "" || line[0] == '#' {
				continue
			}
			name, value, ok := strings.Cut(line, "=")
			if value = strings.TrimSpace(value); ok {
				line = name + "=" + unquote(value)
			}
			add(fmt.Sprintf("--env-file: %s:%d", o.envFile, number+1), line)
		}
	}
	for _, pair := range o.set {
		add("--set", pair)
	}
	return values, errors.Join(mistakes...)
}

// unquote takes the quotes off a value in an env file, if it has a pair of them.
func unquote(value string) string {
	if n := len(value); n >= 2 && value[0] == value[n-1] && (value[0] == '"' || value[0] == '\'') {
		return value[1 : n-1]
	}
	return value
}

// otherFiles are those found in folders that hold something else than manifests.
func otherFiles(files []*manifest.File) []string {
	var names []string
	for _, f := range files {
		if !f.Named && slices.ContainsFunc(f.Documents, func(d *manifest.Document) bool { return len(d.NotObjects()) > 0 }) {
			names = append(names, f.Name)
		}
	}
	return names
}

// someOf names the first of many.
func someOf[T any](all []T) string {
	const most = 5
	var names []string
	for _, one := range all[:min(len(all), most)] {
		names = append(names, fmt.Sprint(one))
	}
	if rest := len(all) - most; rest > 0 {
		names = append(names, fmt.Sprintf("and %d more", rest))
	}
	return strings.Join(names, ", ")
}

// tally counts findings, for people.
func tally(found []lint.Finding) string {
	count := map[finding.Severity]int{}
	for _, f := range found {
		count[f.Severity]++
	}
	return fmt.Sprintf("errors: %d, warnings: %d, notes: %d", count[finding.Error], count[finding.Warning], count[finding.Info])
}

// lintReport is azwi lint --output json; docs/schema/lint.json describes it.
type lintReport struct {
	Findings []lintFinding `json:"findings"`
	// Unchecked are files in folders that hold something else than manifests.
	Unchecked []string `json:"unchecked,omitempty"`
}

type lintFinding struct {
	Rule     string           `json:"rule"`
	Severity finding.Severity `json:"severity"`
	lintPlace
	Object  *lintObject `json:"object,omitempty"`
	Message string      `json:"message"`
	Also    []lintPlace `json:"also,omitempty"`
}

type lintPlace struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

type lintObject struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

func colour(s finding.Severity) terminal.Colour {
	return map[finding.Severity]terminal.Colour{finding.Error: terminal.Bad, finding.Warning: terminal.Changed}[s]
}

func writeFindings(r *command.Env, form string, found []lint.Finding, others []string) error {
	switch form {
	case "text":
		for _, f := range found {
			object := ""
			if f.Kind != "" {
				object = f.Kind + " " + f.Namespace + "/" + f.Name + ": "
			}
			also := ""
			if n := len(f.Also); n > 0 {
				also = fmt.Sprintf(" (%d more: %s)", n, someOf(f.Also))
			}
			r.Out.Printf("%s: %s: %s%s%s [%s]\n", f.Position, colour(f.Severity).Text(f.Severity.String()), object, f.Text(), also, f.Code())
		}
		return nil
	case "json":
		report := lintReport{Findings: []lintFinding{}, Unchecked: others}
		for _, f := range found {
			one := lintFinding{Rule: string(f.Code()), Severity: f.Severity, lintPlace: lintPlace(f.Position), Message: f.Text()}
			for _, p := range f.Also {
				one.Also = append(one.Also, lintPlace(p))
			}
			if f.Kind != "" {
				one.Object = &lintObject{f.Kind, f.Namespace, f.Name}
			}
			report.Findings = append(report.Findings, one)
		}
		e := json.NewEncoder(r.Data)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(report)
	case "github":
		// https://docs.github.com/actions/reference/workflow-commands-for-github-actions
		value := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
		property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
		commands := map[finding.Severity]string{finding.Error: "error", finding.Warning: "warning", finding.Info: "notice"}
		for _, f := range found {
			r.Out.Printf("::%s file=%s,line=%d,col=%d,title=azwi lint%s::%s\n", commands[f.Severity],
				property.Replace(f.Position.File), f.Position.Line, f.Position.Column, property.Replace(": "+string(f.Code())), value.Replace(f.Text()))
		}
		return nil
	}
	return fmt.Errorf("--output %q: use text, json or github", form)
}
