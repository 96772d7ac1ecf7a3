package installation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"azwi/internal/cli/command"
	"azwi/internal/cli/connect"
	"azwi/internal/finding"
	"azwi/internal/install"
	"azwi/internal/terminal"
	"azwi/internal/version"
)

// NewStatus makes azwi status.
func NewStatus(r *command.Env) *cobra.Command {
	var cluster connect.Cluster
	var output string
	c := &cobra.Command{
		Use: "status", Short: "Show the state of the installation", Args: cobra.NoArgs,
		Long: `Show the state of the installation in a cluster, whatever installed it.

Exit code: 0 all is well, 2 something is wrong, 3 parts are unknown, 1 failure.`,
		Example: `  azwi status
  azwi status --context staging -o json`,
		Annotations: map[string]string{command.Docs: "docs/operations.md"},
		RunE:        func(c *cobra.Command, _ []string) error { return status(c.Context(), r, cluster, output) },
	}
	cluster.Register(c)
	command.OutputFlag(c, &output)
	return c
}

func status(ctx context.Context, r *command.Env, cluster connect.Cluster, output string) error {
	if err := command.CheckOutput(output); err != nil {
		return err
	}
	client, err := cluster.Connect(r)
	if err != nil {
		return err
	}
	status, err := install.ReadStatus(ctx, client, version.String(), time.Now())
	if err != nil {
		return err
	}
	if status == nil {
		return command.Exit(command.ExitDifferent, finding.NothingInstalled().Err(nil))
	}
	if err := r.Print(output, status, func() { printStatus(r.Out, status) }); err != nil {
		return err
	}
	if n := len(status.Problems); n > 0 {
		return command.Exit(command.ExitDifferent, errors.New(command.Number(n, "problem")))
	}
	if status.Unread {
		return command.Exit(command.ExitNotPermitted, errors.New("nothing is wrong as far as you may see; docs/operations.md lists the rights that status needs to see all"))
	}
	return nil
}

func printStatus(w *terminal.Writer, s *install.Status) {
	colour := terminal.Plain
	line := func(name, format string, args ...any) {
		w.Printf("%s %s\n", colour.Text(fmt.Sprintf("%-14s", name)), fmt.Sprintf(format, args...))
	}
	line("engine", "%s", cmp.Or(s.Engine, "unknown"))
	line("version", "%s", cmp.Or(s.Version, "unknown"))
	line("installed by", "%s, namespace %s", s.Owner, s.Namespace)
	line("Kubernetes", "%s", s.Kubernetes)
	if s.Replicas != nil {
		line("replicas", "%d of %d ready", s.Replicas.Ready, s.Replicas.Wanted)
	}
	if s.Certificate != nil {
		line("certificate", "until %s", s.Certificate.NotAfter.Format(time.RFC3339))
	}
	injection := "unknown"
	if s.Injection != nil {
		injection = map[bool]string{true: "works", false: "does not work"}[*s.Injection]
		colour = map[bool]terminal.Colour{true: terminal.Good, false: terminal.Bad}[*s.Injection]
	}
	line("injection", "%s", injection)
	colour = terminal.Changed
	for _, d := range s.Drift {
		line("different", "%s", d)
	}
	for _, list := range []struct {
		name string
		pods []install.Pod
	}{{"no identity", s.PodsWithoutIdentity}, {"stale identity", s.PodsWithStaleIdentity}, {"no label", s.PodsWithoutLabel}} {
		const most = 20
		for _, p := range list.pods[:min(len(list.pods), most)] {
			line(list.name, "pod %s/%s", p.Namespace, p.Name)
		}
		if more := len(list.pods) - most; more > 0 {
			line(list.name, "and %d more", more)
		}
	}
	for _, w := range s.Warnings {
		line("warning", "%s", w.Text())
	}
	for _, u := range s.Unknown {
		line("unknown", "%s", u.Text())
	}
	colour = terminal.Bad
	for _, p := range s.Problems {
		line("PROBLEM", "%s", p.Text())
	}
}
