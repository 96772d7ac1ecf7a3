package doctor

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"azwi/internal/cli/command"
	"azwi/internal/cli/connect"
	"azwi/internal/doctor"
	"azwi/internal/install"
	"azwi/internal/version"
)

// NewCheck makes azwi check.
func NewCheck(r *command.Env) *cobra.Command {
	var cluster connect.Cluster
	var pre bool
	var output string
	config := doctor.BeforeConfig{Version: version.String()}
	c := &cobra.Command{
		Use: "check --pre", Short: "Check whether azwi can be installed into a cluster", Args: cobra.NoArgs,
		Long: `Check whether azwi can be installed into a cluster: its version, your rights,
what is there already. Nothing is changed.

Exit code: 0 it can, 2 something is in the way, 3 not permitted, 1 failure.`,
		Example: `  azwi check --pre
  azwi check --pre --engine policy --image-registry registry.example.com`,
		Annotations: map[string]string{command.Docs: "docs/doctor.md"},
		RunE: func(c *cobra.Command, _ []string) error {
			if !pre {
				return errors.New("give --pre; after an installation, azwi status and azwi doctor look at it")
			}
			return check(c.Context(), r, cluster, config, output)
		},
	}
	f := c.Flags()
	f.BoolVar(&pre, "pre", false, "before an installation")
	f.StringVar(&config.Engine, "engine", "", "the engine to install: auto, webhook or policy")
	f.StringVar(&config.Registry, "image-registry", version.Registry(), "the registry of the images, whose name is looked up")
	command.Complete(c, "engine", install.EngineAuto, install.EngineWebhook, install.EnginePolicy)
	cluster.Register(c)
	command.OutputFlag(c, &output)
	return c
}

func check(ctx context.Context, r *command.Env, cluster connect.Cluster, config doctor.BeforeConfig, output string) error {
	if err := command.CheckOutput(output); err != nil {
		return err
	}
	var err error
	if config.Cluster, err = cluster.Connect(r); err != nil {
		return err
	}
	report, err := doctor.Before(ctx, config)
	if err != nil {
		return err
	}
	report.Subject.Name = config.Cluster.Host
	if err := r.Print(output, report, func() { printChain(r.Out, report) }); err != nil {
		return err
	}
	return verdict(r, report)
}
