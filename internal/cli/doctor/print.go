package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"azwi/internal/atomicfile"
	"azwi/internal/cli/command"
	"azwi/internal/doctor"
	"azwi/internal/finding"
	"azwi/internal/sarif"
	"azwi/internal/terminal"
	"azwi/internal/version"
)

// printChain writes a line for each link, and below it what else was seen.
func printChain(w *terminal.Writer, report *doctor.Report) {
	w.Printf("%s\n\n", report.Subject)
	for _, l := range report.Links {
		state, colour := string(l.State), terminal.Plain
		switch {
		case l.State == doctor.Wrong:
			colour = terminal.Bad
		case l.State == doctor.OK && len(l.Findings) > 0:
			state, colour = "warning", terminal.Changed
		case l.State == doctor.OK:
			colour = terminal.Good
		}
		for i, line := range linesOf(l) {
			if i > 0 {
				w.Printf("  %s\n", line)
				continue
			}
			w.Printf("%s %s: %s\n", colour.Text(fmt.Sprintf("%-12s", state)), l.Name, line)
		}
	}
}

// linesOf is what is told of a link: what is wrong first, at least an empty line.
func linesOf(l doctor.Link) []string {
	var lines []string
	for _, f := range l.Findings {
		if lines = append(lines, f.Text()); f.Command() != "" {
			lines = append(lines, "run: "+f.Command())
		}
	}
	if lines = append(lines, l.Evidence...); len(lines) == 0 {
		return []string{""}
	}
	return lines
}

// printReport writes a chain in the form that --output asks for.
func (o *options) printReport(r *command.Env, report *doctor.Report) error {
	if o.output != "markdown" {
		return r.Print(o.output, report, func() { printChain(r.Out, report) })
	}
	r.Out.Printf("## %s\n\n| link | state | what was seen |\n| --- | --- | --- |\n", report.Subject)
	for _, l := range report.Links {
		r.Out.Printf("| %s | %s | %s |\n", l.Name, l.State, cell(strings.Join(linesOf(l), "; ")))
	}
	return r.Out.Err()
}

// cell is a text that can't end a cell of a table in Markdown, nor be taken for HTML.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "`", "\\`", "[", `\[`).Replace(text)
}

// markdownSurvey writes what is wrong as a table.
func markdownSurvey(w *terminal.Writer, s *doctor.Survey) {
	w.Printf("Running pods: %d, service accounts with a client ID: %d, identities: %d\n\n", s.Pods, s.Accounts, s.Identities)
	w.Printf("| severity | code | object | running pods | what is wrong |\n| --- | --- | --- | --- | --- |\n")
	for _, c := range s.Causes {
		for _, one := range c.Cases {
			w.Printf("| %s | %s | %s | %d | %s |\n", c.Severity, c.Code, cell(one.Object), one.Pods, cell(one.Text()))
		}
	}
}

// privateMode keeps other users of the machine from the names in the file.
const privateMode = 0o600

func (o *options) survey(ctx context.Context, r *command.Env, d *doctor.Doctor, namespace string) error {
	if o.all {
		namespace = ""
	}
	progress, done := identitiesRead(r)
	s, err := d.Survey(ctx, doctor.Selection{Namespace: namespace, Labels: o.selector}, progress)
	done()
	if err != nil {
		return err
	}
	if o.output == "markdown" {
		markdownSurvey(r.Out, s)
	} else if err := o.print(r, s, s.Causes, func() { printSurvey(r.Out, s) }); err != nil {
		return err
	}
	if o.html != "" {
		page, err := s.Page(time.Now()).HTML()
		if err == nil {
			err = atomicfile.Write(o.html, page, privateMode)
		}
		if err != nil {
			return fmt.Errorf("--html: %w", err)
		}
		r.Err.Printf("%s has the map of identities; open it in a browser\n", o.html)
	}
	switch {
	case s.Wrong():
		return command.Exit(command.ExitDifferent, fmt.Errorf("%s; azwi doctor KIND/NAME looks at one workload", command.Number(errorsIn(s), "mistake")))
	case s.Denied:
		return command.Exit(command.ExitNotPermitted, errors.New("nothing is wrong as far as you may look"))
	}
	return nil
}

// identitiesRead shows how many there are still to read, on a terminal.
func identitiesRead(r *command.Env) (progress func(done, all int), end func()) {
	if !r.Err.IsTerminal() {
		return func(int, int) {}, func() {}
	}
	return func(done, all int) { r.Err.Overwrite("identities: %d of %d", done, all) }, func() { r.Err.Overwrite("") }
}

// print writes what programs read; SARIF has the causes alone.
func (o *options) print(r *command.Env, v any, causes []doctor.Cause, text func()) error {
	if o.output != "sarif" {
		return r.Print(o.output, v, text)
	}
	var results []sarif.Result
	for _, c := range causes {
		for _, one := range c.Cases {
			results = append(results, sarif.Result{Finding: one.Finding, Object: one.Object})
		}
	}
	return r.Print("json", sarif.New(version.String(), results), nil)
}

func errorsIn(s *doctor.Survey) int {
	n := 0
	for _, c := range s.Causes {
		if c.Severity == finding.Error {
			n += len(c.Cases)
		}
	}
	return n
}

// printSurvey writes what is wrong by cause, each with its first cases.
func printSurvey(w *terminal.Writer, s *doctor.Survey) {
	w.Printf("%s, %s with a client ID, %s\n", command.Number(s.Pods, "running pod"), command.Number(s.Accounts, "service account"), identities(s.Identities))
	printCauses(w, s.Causes)
	const nearlyFull = 15
	for i, q := range s.Quotas {
		if q.Used < nearlyFull {
			break
		}
		if i == 0 {
			w.Printf("\nidentities with little room for federated credentials:\n")
		}
		w.Printf("  %-40s %2d of %d used\n", q.Identity, q.Used, q.Limit)
	}
	printUnknown(w, s.Unknown)
	if len(s.Causes) == 0 {
		w.Printf("no mistake found\n")
	}
}

// printCauses writes each with its first cases.
func printCauses(w *terminal.Writer, causes []doctor.Cause) {
	for _, c := range causes {
		const most = 3
		w.Printf("\n%s: %s (%s)\n", colourOf(c.Severity).Text(c.Severity.String()), c.Title, c.Code)
		if c.Pods > 0 {
			w.Printf("  running pods: %d\n", c.Pods)
		}
		for i, one := range c.Cases {
			if i == most {
				w.Printf("  and %d more; -o json lists all\n", len(c.Cases)-most)
				break
			}
			w.Printf("  - %s\n", strings.TrimPrefix(one.Object+": "+one.Text(), ": "))
			if run := one.Command(); run != "" {
				w.Printf("    run: %s\n", run)
			}
		}
	}
}

func colourOf(s finding.Severity) terminal.Colour {
	switch s {
	case finding.Error:
		return terminal.Bad
	case finding.Warning:
		return terminal.Changed
	default:
		return terminal.Plain
	}
}

func printUnknown(w *terminal.Writer, unknown []string) {
	for i, u := range unknown {
		if i == 0 {
			w.Printf("\nnot looked at:\n")
		}
		w.Printf("  %s\n", u)
	}
}

func identities(n int) string {
	if n == 1 {
		return "1 identity"
	}
	return fmt.Sprintf("%d identities", n)
}
