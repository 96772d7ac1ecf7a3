package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"azwi/internal/cli/command"
	"azwi/internal/doctor"
	"azwi/internal/finding"
	"azwi/internal/plainfile"
	"azwi/internal/terminal"
)

type auditOptions struct {
	options
	failOn, baseline string
}

// NewAudit makes azwi audit.
func NewAudit(r *command.Env) *cobra.Command {
	var o auditOptions
	c := &cobra.Command{
		Use: "audit", Short: "Show who can become which identity", Args: cobra.NoArgs,
		Long: `Show which service accounts can become which identity, who can act as them by
RBAC, and what widens that. Nothing is changed, and no token is requested.

Exit code: 0 nothing as bad as --fail-on, 2 something is, 3 not permitted,
1 failure.`,
		Annotations: map[string]string{command.Docs: "docs/audit.md"},
		Example: `  azwi audit -A
  azwi audit -n shop --fail-on info --baseline audit.json
  azwi audit -A -o sarif > audit.sarif`,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context(), r) },
	}
	f := c.Flags()
	f.StringVarP(&o.namespace, "namespace", "n", "", "namespace (default the kubeconfig's)")
	f.BoolVarP(&o.all, "all-namespaces", "A", false, "look at all namespaces")
	f.StringVar(&o.failOn, "fail-on", "warning", "the least severity that is a failure: error, warning, info or never")
	f.StringVar(&o.baseline, "baseline", "", "file of an earlier run's -o json: what it has is left out")
	f.Float64Var(&o.rate, "reads-per-second", readsPerSecond, "how many identities' credentials to read in a second; Azure takes 5")
	command.InGroup(f, command.Kubernetes, "namespace", "all-namespaces")
	command.InGroup(f, command.OtherClouds, "reads-per-second")
	command.Complete(c, "fail-on", "error", "warning", "info", "never")
	o.cluster.Register(c)
	o.cluster.CompleteNames(c)
	o.azure.Register(c)
	command.OutputFlagOf(c, &o.output, "text", "json", "yaml", "sarif")
	return c
}

func (o *auditOptions) run(ctx context.Context, r *command.Env) error {
	var least finding.Severity
	if o.failOn != "never" {
		if err := least.UnmarshalText([]byte(o.failOn)); err != nil {
			return fmt.Errorf("--fail-on: %w, or never", err)
		}
	}
	known, err := readBaseline(o.baseline)
	if err != nil {
		return err
	}
	o.noToken = true
	config, err := o.config(ctx, r)
	if err != nil {
		return err
	}
	namespace := cmp.Or(o.namespace, config.Cluster.Namespace)
	if o.all {
		namespace = ""
	}
	progress, done := identitiesRead(r)
	a, err := doctor.New(config).Audit(ctx, namespace, progress)
	done()
	if err != nil {
		return err
	}
	a.Causes = without(a.Causes, known)
	if err := o.print(r, a, a.Causes, func() { printAudit(r.Out, a) }); err != nil {
		return err
	}
	bad := 0
	for _, c := range a.Causes {
		if c.Severity <= least {
			bad += len(c.Cases)
		}
	}
	switch {
	case bad > 0:
		return command.Exit(command.ExitDifferent, fmt.Errorf("%s of severity %s or worse", command.Number(bad, "finding"), o.failOn))
	case a.Denied:
		return command.Exit(command.ExitNotPermitted, errors.New("parts could not be looked at for lack of rights"))
	}
	return nil
}

// readBaseline reads the cases that an earlier run had.
func readBaseline(name string) (map[string]bool, error) {
	if name == "" {
		return nil, nil
	}
	const most = 64 << 20
	raw, err := plainfile.Read(name, most)
	if err != nil {
		return nil, fmt.Errorf("--baseline: %w", err)
	}
	var earlier struct {
		Causes []struct {
			Code  string
			Cases []struct{ Object, Text string }
		}
	}
	if err := json.Unmarshal(raw, &earlier); err != nil || earlier.Causes == nil {
		return nil, fmt.Errorf("--baseline %s: it is not what azwi audit -o json writes", name)
	}
	known := map[string]bool{}
	for _, c := range earlier.Causes {
		for _, one := range c.Cases {
			known[c.Code+"\n"+one.Object+"\n"+one.Text] = true
		}
	}
	return known, nil
}

// without leaves out the cases that are known.
func without(causes []doctor.Cause, known map[string]bool) []doctor.Cause {
	left := []doctor.Cause{}
	for _, c := range causes {
		cases := c.Cases[:0:0]
		for _, one := range c.Cases {
			if !known[string(c.Code)+"\n"+one.Object+"\n"+one.Text()] {
				cases = append(cases, one)
			}
		}
		if c.Cases = cases; len(cases) > 0 {
			left = append(left, c)
		}
	}
	return left
}

func printAudit(w *terminal.Writer, a *doctor.Audit) {
	w.Printf("%s with a client ID\n", command.Number(len(a.Accounts), "service account"))
	if len(a.Administrators) > 0 {
		w.Printf("may do everything in the cluster, and so become any of these: %s\n", strings.Join(a.Administrators, ", "))
	}
	for _, one := range a.Accounts {
		w.Printf("\n%s/%s, running pods: %d, becomes %s\n", one.Namespace, one.Name, one.Pods, strings.TrimSpace(one.Identity+" "+one.ClientID))
		for _, actor := range one.Actors {
			w.Printf("  - %s: %s\n", actor.Subject, strings.Join(actor.Ways, ", "))
		}
		if len(one.Actors) == 0 {
			w.Printf("  nobody else can act as it, by RBAC\n")
		}
	}
	var causes []doctor.Cause
	for _, c := range a.Causes {
		if c.Code != finding.CodeCanActAs { // shown above
			causes = append(causes, c)
		}
	}
	printCauses(w, causes)
	printUnknown(w, a.Unknown)
	w.Printf("\nOther authorizers than RBAC, such as webhooks, may allow more: azwi can't see it.\n")
}
