package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"azwi/contract"
	"azwi/internal/cli/command"
	"azwi/internal/cli/connect"
	"azwi/internal/cli/exchange"
	"azwi/internal/doctor"
	"azwi/internal/kube"
	"azwi/internal/pod/manifest"
	"azwi/internal/pod/workload"
	"azwi/internal/spelling"
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
	files           []string
	watch           bool
	html            string
	selector        string
	only, skip      []string
	federation      doctor.Federation
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
	f.StringVarP(&o.selector, "selector", "l", "", "labels of the pods to look at, with -A or -n")
	f.StringSliceVar(&o.only, "check", nil, "links to tell of, such as credential (default all)")
	f.StringSliceVar(&o.skip, "skip", nil, "links to leave out")
	f.StringVar(&o.resource, "resource", "", "what the trial token is for (default Resource Manager)")
	f.StringVar(&o.scope, "azure-scope", "", "scope at which the identity needs a role, such as a vault's resource ID")
	f.BoolVar(&o.noToken, "no-token", false, "request no token, and try none")
	f.BoolVar(&o.watch, "watch", false, "look again every 5 s until nothing is wrong")
	f.StringVar(&o.html, "html", "", "also write a page with the map of identities to this file, with -A or -n")
	f.StringArrayVarP(&o.files, "filename", "f", nil, "manifests whose workloads to look at before they are applied; - is standard input")
	f.StringVar(&o.federation.Issuer, "issuer", "", "issuer of the token")
	f.StringVar(&o.federation.Subject, "subject", "", "subject of the token")
	f.StringVar(&o.federation.Audience, "audience", "", "audience of the token (default "+contract.DefaultAudience+")")
	f.StringVar(&o.federation.ClientID, "identity-client-id", "", "client ID of the identity")
	f.Float64Var(&o.rate, "reads-per-second", readsPerSecond, "how many identities' credentials to read in a second; Azure takes 5")
	command.InGroup(f, command.Kubernetes, "namespace", "all-namespaces", "selector")
	command.InGroup(f, command.OtherClouds, "reads-per-second")
	command.InGroup(f, command.NoCluster, "issuer", "subject", "audience", "identity-client-id")
	links := make([]string, 0, len(doctor.LinkNames()))
	for _, name := range doctor.LinkNames() {
		links = append(links, string(name))
	}
	command.Complete(c, "check", links...)
	command.Complete(c, "skip", links...)
	o.cluster.Register(c)
	o.cluster.CompleteNames(c)
	o.azure.Register(c)
	command.OutputFlagOf(c, &o.output, "text", "json", "yaml", "markdown", "sarif")
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
	case name != "" && (o.all || len(o.files) > 0 || o.federation.Subject != ""):
		return errors.New("-A, -f and --subject say what to look at: leave them or " + kind + "/" + name + " out")
	}
	if o.federation != (doctor.Federation{}) {
		return o.examineFederation(ctx, r)
	}
	config, err := o.config(ctx, r)
	if err != nil {
		return err
	}
	namespace := cmp.Or(o.namespace, config.Cluster.Namespace)
	refs := []kube.Ref{{APIVersion: apiVersionOf(kind), Kind: kind, Namespace: namespace, Name: name}}
	if len(o.files) > 0 {
		if refs, config.Given, err = given(r.In, o.files, namespace); err != nil {
			return err
		}
	}
	d := doctor.New(config)
	if name == "" && len(o.files) == 0 {
		return o.survey(ctx, r, d, namespace)
	}
	return o.examine(ctx, r, d, refs)
}

// examine looks at each of the workloads, again and again with --watch.
func (o *options) examine(ctx context.Context, r *command.Env, d *doctor.Doctor, refs []kube.Ref) error {
	const pause = 5 * time.Second
	for {
		var failures []error
		for _, ref := range refs {
			report, err := d.Examine(ctx, ref)
			if err != nil {
				return err
			}
			if err := o.printReport(r, report); err != nil {
				return err
			}
			if err := verdict(r, report); err != nil {
				failures = append(failures, err)
			}
		}
		if len(failures) == 0 || !o.watch {
			return worst(failures)
		}
		for _, err := range failures {
			r.Err.Printf("%s\n", err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// worst is one error of all: a mistake counts for more than what could not be looked at, and
// a failure for more than a lack of rights.
func worst(failures []error) error {
	code := command.ExitNotPermitted
	for _, err := range failures {
		switch coded, ok := errors.AsType[*command.CodedError](err); {
		case ok && coded.Code == command.ExitDifferent:
			code = coded.Code
		case !ok && code != command.ExitDifferent:
			code = command.ExitError
		}
	}
	if len(failures) == 0 {
		return nil
	}
	return command.Exit(code, errors.Join(failures...))
}

// examineFederation looks at Azure and the issuer alone.
func (o *options) examineFederation(ctx context.Context, r *command.Env) error {
	f := o.federation
	if f.Issuer == "" || f.Subject == "" || f.ClientID == "" {
		return errors.New("without a cluster, give --issuer, --subject and --identity-client-id")
	}
	c := doctor.Config{Scope: o.scope, TenantID: r.Getenv("AZURE_TENANT_ID")}
	if err := o.signIn(ctx, r, &c); err != nil {
		return err
	}
	report, err := doctor.New(c).ExamineFederation(ctx, f)
	if err != nil {
		return err
	}
	if err := o.printReport(r, report); err != nil {
		return err
	}
	return verdict(r, report)
}

// given reads manifests: the workloads in them, and all objects as the API server would have
// them.
func given(stdin io.Reader, names []string, namespace string) (refs []kube.Ref, objects []map[string]any, err error) {
	files, err := manifest.Read(stdin, names, false)
	if err != nil {
		return nil, nil, err
	}
	for _, file := range files {
		for _, document := range file.Documents {
			if document.Err != nil {
				return nil, nil, document.Err
			}
			for _, o := range document.Objects() {
				object, ok := plain(o.Value.JSON())
				if !ok {
					continue
				}
				metadata, _ := object["metadata"].(map[string]any)
				if metadata == nil {
					continue
				}
				if metadata["namespace"] == nil {
					metadata["namespace"] = namespace
				}
				objects = append(objects, object)
				if _, ok := workload.Find(o.APIVersion, o.Kind); ok {
					refs = append(refs, kube.Ref{APIVersion: o.APIVersion, Kind: o.Kind, Namespace: cmp.Or(o.Namespace, namespace), Name: o.Name})
				}
			}
		}
	}
	if len(refs) == 0 {
		return nil, nil, errors.New("the files have no workload: azwi lint looks at other objects")
	}
	return refs, objects, nil
}

// plain is an object of its own, whose numbers are as encoding/json has them.
func plain(value any) (object map[string]any, ok bool) {
	raw, err := json.Marshal(value)
	return object, err == nil && json.Unmarshal(raw, &object) == nil && object != nil
}

// checkOutput refuses forms that the command does not have.
func (o *options) checkOutput(args []string) error {
	switch {
	case o.output == "markdown":
		return nil
	case o.output != "sarif":
		return command.CheckOutput(o.output)
	case len(args) > 0:
		return errors.New("-o sarif lists what is wrong with all workloads: use it with -A or -n")
	case len(o.files) > 0 || o.federation != (doctor.Federation{}):
		return errors.New("-o sarif lists what is wrong in a cluster: azwi lint looks at files")
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
	case report.Failed():
		return fmt.Errorf("%s: nothing is wrong as far as azwi could look: see what is unknown", of)
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
	if c.Only, err = linkNames("check", o.only); err != nil {
		return c, err
	}
	if c.Skip, err = linkNames("skip", o.skip); err != nil {
		return c, err
	}
	if c.Cluster, err = o.cluster.Connect(r); err != nil {
		return c, err
	}
	if err := o.signIn(ctx, r, &c); err != nil {
		return c, err
	}
	if !o.noToken {
		if c.Exchanger, err = entra.NewExchanger(exchange.EntraConfig(c.Cloud, false)); err != nil {
			return c, err
		}
	}
	return c, nil
}

// linkNames reads the names of links.
func linkNames(flag string, names []string) ([]doctor.LinkName, error) {
	known := doctor.LinkNames()
	var links []doctor.LinkName
	for _, name := range names {
		if !slices.Contains(known, doctor.LinkName(name)) {
			all := make([]string, len(known))
			for i, k := range known {
				all[i] = string(k)
			}
			return nil, fmt.Errorf("--%s %q is not a link%s: use %s", flag, name, spelling.Suggest(name, all), strings.Join(all, ", "))
		}
		links = append(links, doctor.LinkName(name))
	}
	return links, nil
}

// signIn makes the clients of Azure. That nobody is signed in is told where Azure would be
// asked.
func (o *options) signIn(ctx context.Context, r *command.Env, c *doctor.Config) error {
	var err error
	if c.Cloud, _, err = o.azure.Cloud(r.Getenv); err != nil {
		return err
	}
	session, err := o.azure.SignIn(ctx, r)
	if err != nil {
		c.NoAzure = err
		return nil
	}
	c.Azure = &doctor.Azure{Azure: session.Steps(), Credentials: connect.Credentials(r, session), TenantID: session.Tenant, Subscription: session.Subscription}
	return nil
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
