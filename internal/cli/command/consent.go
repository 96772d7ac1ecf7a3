package command

import (
	"bufio"
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"azwi/internal/terminal"
)

// A Consent is what a command needs that removes something: --yes, or yes as the
// answer on a terminal.
type Consent struct{ yes bool }

// Register adds --yes.
func (c *Consent) Register(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&c.yes, "yes", "y", false, "do not ask before something is removed")
}

// Ask fails unless the answer is yes. Without a terminal to ask, --yes is needed.
func (c *Consent) Ask(ctx context.Context, r *Env, question string) error {
	switch {
	case c.yes:
		return nil
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
