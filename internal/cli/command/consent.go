package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"azwi/internal/terminal"
)

// A Consent is what a command needs that removes something: --yes, or yes as the
// answer on a terminal.
type Consent struct {
	// Written is what a command writes that removes nothing, such as the file. Optional.
	Written string

	yes bool
}

// Register adds --yes.
func (c *Consent) Register(cmd *cobra.Command) {
	what := "something is removed"
	if c.Written != "" {
		what = c.Written + " is written"
	}
	cmd.Flags().BoolVarP(&c.yes, "yes", "y", false, "do not ask before "+what)
}

// Ask fails unless the answer is yes. Without a terminal to ask, --yes is needed.
func (c *Consent) Ask(ctx context.Context, r *Env, question string) error {
	switch {
	case c.yes:
		return nil
	case !terminal.IsTerminal(r.In) && c.Written != "":
		return fmt.Errorf("%s is not written, because standard input is not a terminal on which to ask: check with --dry-run, then use --yes", c.Written)
	case !terminal.IsTerminal(r.In):
		return errors.New("this removes something, and standard input is not a terminal on which to ask: check with --dry-run, then use --yes")
	}
	r.Err.Printf("%s [y/N] ", question)
	answers := make(chan string, 1)
	go func() {
		// Reading a terminal can't be cancelled; the program ends then.
		line, _ := bufio.NewReader(r.In).ReadString('\n') // no answer is no
		answers <- line
	}()
	select {
	case answer := <-answers:
		if a := strings.ToLower(strings.TrimSpace(answer)); a == "y" || a == "yes" {
			return nil
		}
	case <-ctx.Done():
		r.Err.Printf("\n")
	}
	return errors.New("nothing was changed")
}
