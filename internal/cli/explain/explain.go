package explain

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"azwi/internal/cli/command"
	"azwi/internal/finding"
)

// maxText bounds what is read from standard input, in bytes.
const maxText = 1 << 20

// A report is what explain prints; docs/schema/explain.json is made from it.
type report struct {
	// Explanations are in the order of the text.
	Explanations []explanation `json:"explanations"`
}

type explanation struct {
	// Code is an AADSTS code, one of Resource Manager or Graph, or one of azwi's findings.
	Code string `json:"code"`
	// Class says whether retrying helps (permanent, replication, transient), or how bad a finding is (error, warning, info).
	Class string `json:"class"`
	// Meaning is what is wrong, and what to do.
	Meaning string `json:"meaning"`
	// Causes are the usual ones, in the order in which to check them.
	Causes []finding.Cause `json:"causes,omitempty"`
	// Source is a public page, or one of azwi's docs.
	Source string `json:"source"`

	words string // the class, for people
}

type options struct {
	list   bool
	output string
}

// New makes the command.
func New(r *command.Env) *cobra.Command {
	var o options
	c := &cobra.Command{
		Use: "explain CODE|TEXT|-", Short: "Explain an error code or a pasted error",
		Long: `Explain the codes in an error or a log line: what each means, its usual causes,
and how to check each. - reads standard input. Nothing is contacted.`,
		Annotations: map[string]string{command.Docs: "docs/explain.md"},
		Example: `  azwi explain AADSTS700213
  azwi explain client-id-not-guid
  kubectl logs deployment/orders -n shop | azwi explain -`,
		Args: cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error { return run(r, o, args) },
	}
	c.Flags().BoolVar(&o.list, "list", false, "list all codes that are known")
	command.OutputFlag(c, &o.output)
	return c
}

func run(r *command.Env, o options, args []string) error {
	if err := command.CheckOutput(o.output); err != nil {
		return err
	}
	if o.list {
		all := everything()
		return r.Print(o.output, all, func() {
			r.Out.Table(func(row func(...string)) {
				for _, e := range all.Explanations {
					row(e.Code, e.Class, e.Meaning)
				}
			})
		})
	}
	text := strings.Join(args, " ")
	switch {
	case len(args) == 0:
		return errors.New("nothing to explain: give a code, an error in quotes, or - to read standard input; azwi explain --list shows all codes")
	case text == "-":
		raw, err := io.ReadAll(io.LimitReader(r.In, maxText))
		if err != nil {
			return fmt.Errorf("standard input: %w", err)
		}
		text = string(raw)
	}
	answer := explain(finding.ReadPasted(text))
	if len(answer.Explanations) == 0 {
		return errors.New("no code that azwi knows is in this text: it looks for AADSTS numbers, error codes of Resource Manager and Microsoft Graph, and azwi's own; azwi explain --list shows them")
	}
	return r.Print(o.output, answer, func() { show(r, answer) })
}

func show(r *command.Env, answer report) {
	for i, e := range answer.Explanations {
		if i > 0 {
			r.Out.Printf("\n")
		}
		r.Out.Printf("%s (%s)\n", e.Code, e.words)
		r.Out.Block("  ", "  ", e.Meaning)
		for n, cause := range e.Causes {
			if n == 0 {
				r.Out.Printf("\n  Usual causes, in the order in which to check them:\n")
			}
			r.Out.Block(fmt.Sprintf("  %d. ", n+1), "     ", cause.Cause)
			r.Out.Block("     check: ", "     ", cause.Check)
		}
		r.Out.Printf("\n  %s\n", e.Source)
	}
}

func explain(p finding.Pasted) report {
	answer := report{Explanations: []explanation{}}
	for _, code := range p.AADSTS {
		if known := finding.Explain(code); known.Advice != "" {
			e := aadsts(code, known)
			e.Meaning, e.Causes = p.Presented.Advice(code), p.Presented.Causes(code)
			answer.Explanations = append(answer.Explanations, e)
		}
	}
	for _, code := range p.Azure {
		answer.Explanations = append(answer.Explanations, azure(code, finding.ExplainAzure(0, code)))
	}
	for _, code := range p.Codes {
		answer.Explanations = append(answer.Explanations, ours(code))
	}
	return answer
}

func aadsts(code int, row finding.AADSTS) explanation {
	return explanation{
		Code: "AADSTS" + strconv.Itoa(code), Class: row.Class.String(), words: row.Class.Retry(), Meaning: row.Advice, Source: finding.AADSTSSource,
	}
}

func azure(code string, row finding.AzureRefusal) explanation {
	class := finding.Permanent
	return explanation{Code: code, Class: class.String(), words: class.Retry(), Meaning: row.Advice, Source: row.Source()}
}

func ours(code finding.Code) explanation {
	entry, _ := finding.Find(code)
	severity := entry.Severity.String()
	return explanation{
		Code: string(code), Class: severity, words: severity, Meaning: entry.Title, Source: "docs/" + entry.Page + ", section " + string(code),
	}
}

// everything is all that is known, in the order of the tables.
func everything() report {
	var all report
	for _, row := range finding.AADSTSCodes() {
		for _, code := range row.Codes {
			all.Explanations = append(all.Explanations, aadsts(code, row))
		}
	}
	for _, row := range finding.AzureRefusals() {
		for _, code := range row.Codes {
			all.Explanations = append(all.Explanations, azure(code, row))
		}
	}
	for _, entry := range finding.Catalogue() {
		all.Explanations = append(all.Explanations, ours(entry.Code))
	}
	return all
}
