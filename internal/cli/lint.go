package cli

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"azwi/internal/inject"
	"azwi/internal/lint"
)

// lintOptions are the flags of azwi lint.
type lintOptions struct {
	manifestOptions
	output  string
	failOn  string
	disable []string
	layout  string
	rules   bool
}

func newLintCommand(r *root) *cobra.Command {
	var o lintOptions
	c := &cobra.Command{
		Use: "lint -f FILE|FOLDER|-", Short: "Find mistakes of workload identity in manifests",
		Long: `Find mistakes of workload identity in manifests, with the line and column of each.

Service accounts are checked with the workloads that use them if both are in the
input, so give it all that is deployed together. docs/lint.md describes every rule.

Exit code: 0 nothing found that --fail-on names, 2 mistakes, 1 failure.`,
		Example: `  azwi lint -f deploy/ -R
  helm template shop ./chart | azwi lint -f - -n shop
  azwi lint -f deploy/ --output github --fail-on warning`,
		RunE: func(*cobra.Command, []string) error { return lintManifests(o, r) },
	}
	o.register(c)
	c.Flags().StringVar(&o.output, "output", "text", "text, json, or github (annotations of GitHub Actions)")
	c.Flags().StringVar(&o.failOn, "fail-on", "error", "lowest severity that makes the exit code 2: error, warning, info, or none")
	c.Flags().StringSliceVar(&o.disable, "disable", nil, "rules to leave out, comma-separated; repeatable")
	c.Flags().StringVar(&o.layout, "token-path", inject.LayoutV16.String(), "the webhook's --token-path: v1.6.0, v1.5.1 or both")
	c.Flags().BoolVar(&o.rules, "rules", false, "list the rules and exit")
	complete(c, "output", "text", "json", "github")
	complete(c, "fail-on", "error", "warning", "info", "none")
	complete(c, "token-path", "v1.6.0", "v1.5.1", "both")
	var names []string
	for _, rule := range lint.Rules() {
		names = append(names, rule.Name+"\t"+rule.Summary)
	}
	complete(c, "disable", names...)
	return c
}

func lintManifests(o lintOptions, r *root) error {
	if o.rules {
		for _, rule := range lint.Rules() {
			r.Out.Printf("%-24s %-8s %s\n", rule.Name, rule.Severity, rule.Summary)
		}
		return nil
	}
	config := lint.Config{Namespace: o.namespace, Disabled: o.disable}
	if err := lint.CheckRules(o.disable); err != nil {
		return fmt.Errorf("--disable: %w", err)
	}
	if err := config.Layout.UnmarshalText([]byte(o.layout)); err != nil {
		return fmt.Errorf("--token-path: %w", err)
	}
	var failOn lint.Severity
	if o.failOn != "none" {
		if err := failOn.UnmarshalText([]byte(o.failOn)); err != nil {
			return fmt.Errorf("--fail-on: %w, or none", err)
		}
	}
	files, err := o.read(r.In)
	if err != nil {
		return err
	}
	found := lint.Lint(files, config)
	if err := r.writeFindings(o.output, found); err != nil {
		return err
	}
	var failed bool
	for _, f := range found {
		failed = failed || f.Severity <= failOn
	}
	if failed {
		return &exitError{ExitDifferent, fmt.Errorf("%s", tally(found))}
	}
	if o.output == "text" {
		r.Err.Printf("files: %d, %s\n", len(files), tally(found))
	}
	return nil
}

// tally counts findings, for people.
func tally(found []lint.Finding) string {
	count := map[lint.Severity]int{}
	for _, f := range found {
		count[f.Severity]++
	}
	return fmt.Sprintf("errors: %d, warnings: %d, notes: %d", count[lint.Error], count[lint.Warning], count[lint.Info])
}

// lintReport is azwi lint --output json; docs/schema/lint.json describes it.
type lintReport struct {
	Findings []lintFinding `json:"findings"`
}

type lintFinding struct {
	Rule     string        `json:"rule"`
	Severity lint.Severity `json:"severity"`
	File     string        `json:"file"`
	Line     int           `json:"line"`
	Column   int           `json:"column"`
	Object   *lintObject   `json:"object,omitempty"`
	Message  string        `json:"message"`
}

type lintObject struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

func (r *root) writeFindings(form string, found []lint.Finding) error {
	switch form {
	case "text":
		for _, f := range found {
			object := ""
			if f.Kind != "" {
				object = f.Kind + " " + f.Namespace + "/" + f.Name + ": "
			}
			r.Out.Printf("%s: %s: %s%s [%s]\n", f.Position, f.Severity, object, f.Message, f.Rule)
		}
		return nil
	case "json":
		report := lintReport{Findings: []lintFinding{}}
		for _, f := range found {
			one := lintFinding{Rule: f.Rule, Severity: f.Severity, File: f.Position.File, Line: f.Position.Line, Column: f.Position.Column, Message: f.Message}
			if f.Kind != "" {
				one.Object = &lintObject{f.Kind, f.Namespace, f.Name}
			}
			report.Findings = append(report.Findings, one)
		}
		e := json.NewEncoder(r.data)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(report)
	case "github":
		// https://docs.github.com/actions/reference/workflow-commands-for-github-actions
		value := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
		property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
		commands := map[lint.Severity]string{lint.Error: "error", lint.Warning: "warning", lint.Info: "notice"}
		for _, f := range found {
			r.Out.Printf("::%s file=%s,line=%d,col=%d,title=azwi lint%s::%s\n", commands[f.Severity],
				property.Replace(f.Position.File), f.Position.Line, f.Position.Column, property.Replace(": "+f.Rule), value.Replace(f.Message))
		}
		return nil
	}
	return fmt.Errorf("--output %q: use text, json or github", form)
}
