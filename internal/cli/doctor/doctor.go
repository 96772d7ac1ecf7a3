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
	"azwi/internal/kube"
	"azwi/internal/pod/workload"
	"azwi/internal/token/entra"
)

// readsPerSecond is what Azure takes of lists of federated credentials, in a subscription.
// Source: https://learn.microsoft.com/entra/workload-id/workload-identity-federation-considerations
const readsPerSecond = 5

type options struct {
	cluster         connect.Cluster
	azure           connect.Azure
	namespace       string
	all             bool
	resource, scope string
	noToken         bool
	rate            float64
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
	f.Float64Var(&o.rate, "reads-per-second", readsPerSecond, "how many identities' credentials to read in a second; Azure takes 5")
	command.InGroup(f, command.Kubernetes, "namespace", "all-namespaces")
	command.InGroup(f, command.OtherClouds, "reads-per-second")
	o.cluster.Register(c)
	o.cluster.CompleteNames(c)
	o.azure.Register(c)
	command.OutputFlagOf(c, &o.output, "text", "json", "yaml", "sarif")
	return c
}

func (o *options) run(ctx context.Context, r *command.Env, args []string) error {
	if err := o.checkOutput(args); err != nil {
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
		return o.survey(ctx, r, d, config.Cluster.Namespace)
	}
	apiVersion := apiVersionOf(kind)
	report, err := d.Examine(ctx, kube.Ref{APIVersion: apiVersion, Kind: kind, Namespace: cmp.Or(o.namespace, config.Cluster.Namespace), Name: name})
	if err != nil {
		return err
	}
	if err := r.Print(o.output, report, func() { printChain(r.Out, report) }); err != nil {
		return err
	}
	return verdict(r, report)
}

// checkOutput refuses forms that the command does not have.
func (o *options) checkOutput(args []string) error {
	switch {
	case o.output != "sarif":
		return command.CheckOutput(o.output)
	case len(args) > 0:
		return errors.New("-o sarif lists what is wrong with all workloads: use it with -A or -n")
	}
	return nil
}

// verdict is the exit code and the last line.
func verdict(r *command.Env, report *doctor.Report) error {
	of := report.Subject.String()
	var codes []string
	for _, l := range report.Links {
		if l.State == doctor.Wrong {
			for _, f := range l.Findings {
				codes = append(codes, string(f.Code()))
			}
		}
	}
	switch {
	case len(codes) > 0:
		return command.Exit(command.ExitDifferent, fmt.Errorf("%s: %s: %s", of, command.Number(len(codes), "mistake"), strings.Join(codes, ", ")))
	case report.Denied():
		return command.Exit(command.ExitNotPermitted, fmt.Errorf("%s: nothing is wrong as far as you may look", of))
	}
	r.Err.Printf("%s: no mistake found\n", of)
	return nil
}

// config connects and signs in. Without Azure, the links in the cluster are looked at.
func (o *options) config(ctx context.Context, r *command.Env) (doctor.Config, error) {
	c := doctor.Config{ReadsPerSecond: o.rate, Resource: o.resource, Scope: o.scope, TenantID: r.Getenv("AZURE_TENANT_ID")}
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
