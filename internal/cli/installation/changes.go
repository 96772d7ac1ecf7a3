package installation

import (
	"errors"
	"fmt"
	"strings"

	"azwi/internal/cli/command"
	"azwi/internal/install"
	"azwi/internal/terminal"
)

// A dryRun is --dry-run. Without a value it is server.
type dryRun string

const (
	dryRunServer dryRun = "server"
	dryRunClient dryRun = "client"
)

// Set also takes what it took when the flag was a boolean.
func (d *dryRun) Set(text string) error {
	switch text {
	case "server", "true":
		*d = dryRunServer
	case "client":
		*d = dryRunClient
	case "none", "false":
		*d = ""
	default:
		return errors.New("use client or server")
	}
	return nil
}

func (d *dryRun) String() string { return string(*d) }

// Type is what help shows as the value.
func (*dryRun) Type() string { return "string" }

// printChanges shows each object that would change, with the lines that do.
func printChanges(r *command.Env, changes []install.Change) {
	colours := map[string]terminal.Colour{"+": terminal.Good, "~": terminal.Changed, "-": terminal.Bad}
	count := map[string]int{}
	for _, c := range changes {
		count[c.Sign]++
		r.Out.Printf("%s\n", colours[c.Sign].Text(c.Sign+" "+c.Ref.String()))
		for line := range strings.Lines(c.Diff) {
			colour := colours[line[:1]]
			r.Out.Printf("    %s\n", colour.Text(strings.TrimSuffix(line, "\n")))
		}
	}
	var tally []string
	for _, of := range []struct{ sign, what string }{{"+", "add"}, {"~", "change"}, {"-", "remove"}} {
		if n := count[of.sign]; n > 0 {
			tally = append(tally, fmt.Sprintf("%d to %s", n, of.what))
		}
	}
	if len(tally) == 0 {
		tally = []string{"nothing to change"}
	}
	r.Out.Printf("%s\n", strings.Join(tally, ", "))
}
