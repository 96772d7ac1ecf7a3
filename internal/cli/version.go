package cli

import (
	"runtime"

	"github.com/spf13/cobra"

	"azwi/internal/version"
)

func newVersionCommand(r *root) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of azwi",
		Args:  noArguments,
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version  string `json:"version"`
				Go       string `json:"go"`
				Platform string `json:"platform"`
			}{version.String(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			return r.print(output, v, func() {
				r.Out.Printf("azwi %s, %s, %s\n", v.Version, v.Go, v.Platform)
			})
		},
	}
	outputFlag(cmd, &output)
	return cmd
}
