package cli

import (
	"encoding/json"
	"fmt"
	"runtime"
	"slices"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

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

// outputFlag adds --output.
func outputFlag(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVar(output, "output", "text", "text, json or yaml")
}

// print writes a result in the form that --output asks for; text writes it for
// people.
func (r *root) print(output string, v any, text func()) error {
	switch output {
	case "text":
		text()
		return nil
	case "json":
		e := json.NewEncoder(r.data)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(v)
	case "yaml":
		raw, err := yaml.Marshal(v)
		if err != nil {
			return err
		}
		_, err = r.data.Write(raw)
		return err
	}
	return checkOutput(output)
}

// checkOutput is the error if print does not know the form.
func checkOutput(output string) error {
	if slices.Contains([]string{"text", "json", "yaml"}, output) {
		return nil
	}
	return fmt.Errorf("--output %q: use text, json or yaml", output)
}
