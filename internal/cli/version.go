package cli

import (
	"runtime"

	"github.com/spf13/cobra"

	"azwi/internal/cli/command"
	"azwi/internal/version"
)

func newVersionCommand(r *command.Env) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of azwi",
		Args:  command.NoArguments,
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version  string `json:"version"`
				Go       string `json:"go"`
				Platform string `json:"platform"`
			}{version.String(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			return r.Print(output, v, func() {
				r.Out.Printf("azwi %s, %s, %s\n", v.Version, v.Go, v.Platform)
			})
		},
	}
	command.OutputFlag(cmd, &output)
	return cmd
}
