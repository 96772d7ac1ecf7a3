package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"azwi/internal/cli/command"
	"azwi/internal/cli/connect"
	"azwi/internal/cli/exchange"
	"azwi/internal/doctor"
	"azwi/internal/finding"
	"azwi/internal/kube"
	"azwi/internal/pod/workload"
	"azwi/internal/terminal"
	"azwi/internal/token/entra"
)

type options struct {
	cluster         connect.Cluster
	azure           connect.Azure
	namespace       string
	all             bool
	resource, scope string
	noToken         bool
	output          string
}

// New makes the command.
func New(r *command.Env) *cobra.Command {
	var o options
	c := &cobra.Command{
		Use: "doctor [KIND/NAME | KIND NAME]", Short: "Find out why a workload gets no token",
		Long: `Follow the way from a pod to its token, and say where it breaks. KIND is pod,
deployment, statefulset, daemonset, job, cronjob or serviceaccount; without it,
all of the namespace is looked at. Nothing is changed.

Exit code: 0 all is well, 2 something is wrong, 3 not permitted, 1 failure.`,
		Annotations: map[string]string{command.Docs: "docs/doctor.md"},
		Example: `  azwi doctor deployment/orders -n shop
  azwi doctor sa/orders -n shop --resource https://vault.azure.net
  azwi doctor -A`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error { return o.run(c.Context(), r, args) },
	}
	f := c.Flags()
	f.StringVarP(&o.namespace, "namespace", "n", "", "namespace (default the kubeconfig's)")
	f.BoolVarP(&o.all, "all-namespaces", "A", false, "look at all namespaces")
	f.StringVar(&o.resource, "resource", "", "what the trial token is for (default Resource Manager)")
	f.StringVar(&o.scope, "azure-scope", "", "scope at which the identity needs a role, such as a vault's resource ID")
	f.BoolVar(&o.noToken, "no-token", false, "request no token, and try none")
	command.InGroup(f, command.Kubernetes, "namespace", "all-namespaces")
	o.cluster.Register(c)
	o.cluster.CompleteNames(c)
	o.azure.Register(c)
	command.OutputFlag(c, &o.output)
	return c
}

func (o *options) run(ctx context.Context, r *command.Env, args []string) error {
	if err := command.CheckOutput(o.output); err != nil {
		return err
	}
	kind, name, err := parse(args)
	switch {
	case err != nil:
		return err
	case name != "" && o.all:
		return errors.New("-A looks at all workloads: leave out " + kind + "/" + name + ", or -A")
	}
	config, err := o.config(ctx, r)
	if err != nil {
		return err
	}
	d := doctor.New(config)
	if name == "" {
		return errors.New("not yet")
	}
	apiVersion := apiVersionOf(kind)
	report, err := d.Examine(ctx, kube.Ref{APIVersion: apiVersion, Kind: kind, Namespace: cmp.Or(o.namespace, config.Cluster.Namespace), Name: name})
	if err != nil {
		return err
	}
	if err := r.Print(o.output, report, func() { print(r.Out, report) }); err != nil {
		return err
	}
	return verdict(report)
}

// verdict is the exit code and the last line.
func verdict(report *doctor.Report) error {
	of := report.Subject.String()
	switch codes := codesOf(report.Findings(finding.Error)); {
	case len(codes) > 0:
		return command.Exit(command.ExitDifferent, fmt.Errorf("%s in %s: %s; azwi explain says more", command.Number(len(codes), "mistake"), of, strings.Join(codes, ", ")))
	case report.Wrong():
		return command.Exit(command.ExitDifferent, fmt.Errorf("%s does not work: %s", of, strings.Join(codesOf(report.Findings(finding.Warning)), ", ")))
	case report.Denied():
		return command.Exit(command.ExitNotPermitted, fmt.Errorf("nothing is wrong with %s as far as you may look", of))
	}
	return nil
}

func codesOf(findings []finding.Finding) []string {
	codes := make([]string, len(findings))
	for i, f := range findings {
		codes[i] = string(f.Code())
	}
	return codes
}

// config connects and signs in. Without Azure, the links in the cluster are looked at.
func (o *options) config(ctx context.Context, r *command.Env) (doctor.Config, error) {
	c := doctor.Config{Resource: o.resource, Scope: o.scope, TenantID: r.Getenv("AZURE_TENANT_ID")}
	var err error
	if c.Cluster, err = o.cluster.Connect(); err != nil {
		return c, err
	}
	if c.Cloud, _, err = o.azure.Cloud(r.Getenv); err != nil {
		return c, err
	}
	if !o.noToken {
		if c.Exchanger, err = entra.NewExchanger(exchange.EntraConfig(c.Cloud, false)); err != nil {
			return c, err
		}
	}
	session, err := o.azure.SignIn(ctx, r.Getenv)
	if err != nil {
		c.NoAzure = err
		return c, nil
	}
	c.Azure = &doctor.Azure{Azure: session.Steps(), Credentials: connect.Credentials(r, session), TenantID: session.Tenant, Subscription: session.Subscription}
	return c, nil
}

// parse reads KIND/NAME or KIND NAME.
func parse(args []string) (kind, name string, err error) {
	const form = "write KIND/NAME, such as deployment/orders"
	switch len(args) {
	case 0:
		return "", "", nil
	case 1:
		var ok bool
		if kind, name, ok = strings.Cut(args[0], "/"); !ok {
			return "", "", fmt.Errorf("%q has no kind: %s", args[0], form)
		}
	default:
		kind, name = args[0], args[1]
	}
	known, ok := kinds()[strings.ToLower(kind)]
	switch {
	case !ok:
		return "", "", fmt.Errorf("%q is not a kind that doctor knows: use pod, deployment, statefulset, daemonset, job, cronjob or serviceaccount", kind)
	case name == "" || strings.Contains(name, "/"):
		return "", "", fmt.Errorf("%q is not a name: %s; the namespace goes into -n", name, form)
	}
	return known, name, nil
}

// kinds are the names that kubectl has for them.
func kinds() map[string]string {
	all := map[string]string{}
	for kind, short := range map[string]string{
		"Pod": "po", "Deployment": "deploy", "StatefulSet": "sts", "DaemonSet": "ds", "ReplicaSet": "rs", "Job": "job", "CronJob": "cj",
		"ServiceAccount": "sa", "ReplicationController": "rc",
	} {
		lower := strings.ToLower(kind)
		all[lower], all[lower+"s"], all[short] = kind, kind, kind
	}
	return all
}

func apiVersionOf(kind string) string {
	for _, k := range workload.Kinds() {
		if k.Kind == kind {
			return k.APIVersion()
		}
	}
	return "v1" // a service account
}

// print writes the chain, a line for each link and what follows from it below.
func print(w *terminal.Writer, report *doctor.Report) {
	w.Printf("%s\n\n", report.Subject)
	for _, l := range report.Links {
		first := true
		line := func(format string, args ...any) {
			state, name := "", ""
			if first {
				state, name, first = string(l.State), string(l.Name), false
			}
			w.Printf("%-12s %-16s %s\n", state, name, fmt.Sprintf(format, args...))
		}
		for _, f := range l.Findings {
			line("%s: %s", f.Severity(), f.Text())
			if command := f.Command(); command != "" {
				line("run: %s", command)
			}
		}
		for _, e := range l.Evidence {
			line("%s", e)
		}
		if first {
			line("")
		}
	}
}
