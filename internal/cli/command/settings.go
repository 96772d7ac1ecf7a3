package command

import (
	"flag"

	"github.com/spf13/cobra"

	"azwi/contract"
	"azwi/internal/pod/settings"
)

// Settings adds the flags of injection's settings, which are rarely given by hand.
func Settings(c *cobra.Command) settings.Flags {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	given := settings.Register(fs)
	c.Flags().AddGoFlagSet(fs)
	for _, s := range contract.Settings() {
		if s.Flag == "" {
			continue
		}
		InGroup(c.Flags(), Injection, s.Flag)
		if s.Type.Kind == contract.Choice {
			Complete(c, s.Flag, s.Type.Values...)
		}
	}
	return given
}
