package serviceaccount

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"azwi/internal/identity/provision"
	"azwi/internal/spelling"
	"azwi/internal/terminal"

	"github.com/spf13/cobra"

	"azwi/contract"
	"azwi/internal/azure"
	"azwi/internal/azure/arm"
	"azwi/internal/cli/command"
	"azwi/internal/cli/connect"
	"azwi/internal/cli/exchange"
	"azwi/internal/identity/federation"
	"azwi/internal/install"
	"azwi/internal/kube"
	"azwi/internal/version"
)

type phase struct {
	name                  provision.Phase
	alias, create, remove string
}

// phases are those of azwi serviceaccount in the order of create; delete goes
// backwards.
func phases() []phase {
	return []phase{
		{provision.PhaseIdentity, "app", "Create the application and its service principal, or the managed identity", "Delete the application and with it its service principal"},
		{provision.PhaseAccount, "sa", "Create the service account or annotate it", "Delete the service account"},
		{provision.PhaseCredential, "fi", "Create the federated credential that lets the service account use the identity", "Delete the federated credential"},
		{provision.PhaseRole, "ra", "Assign the identity a role", "Delete the role assignment"},
	}
}

// New makes the command.
func New(r *command.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use: "serviceaccount", Aliases: []string{"sa"}, Short: "Create or delete what one service account needs", Args: cobra.NoArgs,
		Annotations: map[string]string{command.Docs: "docs/serviceaccount.md"},
	}
	cmd.AddCommand(newAccountCommand(r, false), newAccountCommand(r, true))
	return cmd
}

// accountOptions are the flags of create, delete and their phases.
type accountOptions struct {
	remove bool
	// whole is false for a single phase.
	whole bool

	azure    connect.Azure
	cluster  connect.Cluster
	identity connect.Identity

	principalName, principalID string
	// account is NAME or NAMESPACE/NAME, in place of name and namespace.
	account                 string
	name, namespace         string
	issuer, audience        string
	expiration              time.Duration
	role, scope, assignment string
	location                string
	createManaged           bool
	deleteManaged           bool

	consent command.Consent

	skip   []string
	check  bool
	wait   exchange.WaitOptions
	dryRun bool
	output string
}

func newAccountCommand(r *command.Env, remove bool) *cobra.Command {
	verb, short, late := "create", "Create an identity and let a service account use it", ", 4 no tokens in time"
	example := `  azwi serviceaccount create shop/orders \
    --managed-identity orders --resource-group web --create-managed-identity`
	if remove {
		verb, short, late = "delete", "Delete what create makes", ""
		example = `  azwi serviceaccount delete shop/orders --dry-run`
	}
	cmd := accountCommand(r, &accountOptions{remove: remove, whole: true}, phases())
	cmd.Use, cmd.Short, cmd.Example = verb+" [NAMESPACE/]NAME", short, example
	cmd.Long = short + ".\n\nExit code: 0 done, 1 failure, 3 not permitted" + late + "."
	only := &cobra.Command{Use: "phase", Short: "Run one phase of " + verb + " alone", Args: cobra.NoArgs}
	for _, p := range phases() {
		one := accountCommand(r, &accountOptions{remove: remove}, []phase{p})
		one.Use, one.Aliases, one.Short = string(p.name), []string{p.alias}, p.create
		if remove {
			one.Short = p.remove
		}
		only.AddCommand(one)
	}
	cmd.AddCommand(only)
	return cmd
}

func accountCommand(r *command.Env, o *accountOptions, selected []phase) *cobra.Command {
	cmd := &cobra.Command{Args: o.argument, RunE: func(cmd *cobra.Command, _ []string) error {
		if err := o.splitAccount(cmd.Flags().Changed("namespace")); err != nil {
			return err
		}
		names, err := o.phases(selected)
		if err != nil {
			return err
		}
		return run(cmd.Context(), r, o, names)
	}}
	f := cmd.Flags()
	f.StringVar(&o.account, "service-account", "", "[NAMESPACE/]NAME of the service account")
	f.StringVarP(&o.namespace, "namespace", "n", "default", "namespace of the service account")
	f.StringVar(&o.name, "service-account-name", "", "name of the service account; upstream's spelling")
	command.Alias(f, "service-account-namespace", "namespace")
	f.StringVar(&o.issuer, "service-account-issuer-url", "", "issuer of the cluster's tokens, byte for byte (default: the cluster's)")
	f.StringVar(&o.role, "azure-role", "", "name of the role to assign")
	f.StringVar(&o.scope, "azure-scope", "", "resource ID of the scope of the role assignment")
	if o.remove {
		f.StringVar(&o.assignment, "role-assignment-id", "", "resource ID of the role assignment to delete")
		o.consent.Register(cmd)
		f.BoolVar(&o.deleteManaged, "delete-managed-identity", false, "delete the managed identity as well")
	} else {
		f.DurationVar(&o.expiration, "service-account-token-expiration", time.Duration(contract.DefaultTokenExpiration)*time.Second, "lifetime of the token in pods, 1h to 24h")
		f.StringVar(&o.audience, "audience", "", "audience of the federated credential (default: the one that the installation in the cluster gives to pods, else "+contract.DefaultAudience+")")
		f.BoolVar(&o.createManaged, "create-managed-identity", false, "create the managed identity if there is none")
		f.StringVar(&o.location, "location", "", "region of the new managed identity (default: the region of its resource group)")
		command.InGroup(f, command.OtherFlags, "service-account-token-expiration", "audience", "location")
	}
	f.StringVar(&o.principalName, "service-principal-name", "", "name of the service principal (default the application's own)")
	f.StringVar(&o.principalID, "service-principal-object-id", "", "object ID of the service principal (default the application's own)")
	command.InGroup(f, command.OtherIdentity, "service-principal-name", "service-principal-object-id")
	command.InGroup(f, command.OtherFlags, "service-account-issuer-url")
	command.InGroup(f, command.Identity, "service-account", "namespace")
	command.InGroup(f, command.OtherFlags, "service-account-name")
	if o.whole {
		f.StringSliceVar(&o.skip, "skip-phases", nil, "phases to leave out")
		f.BoolVar(&o.check, "check", true, "check permissions before anything is written")
		command.InGroup(f, command.OtherFlags, "skip-phases", "check")
		var names []string
		for _, p := range phases() {
			names = append(names, string(p.name))
		}
		command.Complete(cmd, "skip-phases", names...)
		if !o.remove {
			o.wait.Register(cmd)
			command.InGroup(f, command.OtherFlags, "timeout")
		}
	}
	f.BoolVar(&o.dryRun, "dry-run", false, "show what would be done, and write nothing")
	command.OutputFlag(cmd, &o.output)
	o.identity.Register(cmd)
	o.cluster.Register(cmd)
	o.cluster.CompleteNames(cmd)
	o.azure.Register(cmd)
	o.azure.CompleteNames(r, cmd)
	return cmd
}

// argument takes the name of the service account as kubectl does. It refuses what is more
// likely a misspelt command, and lets empty arguments pass as upstream does.
func (o *accountOptions) argument(cmd *cobra.Command, args []string) error {
	names := slices.DeleteFunc(slices.Clone(args), func(name string) bool { return name == "" })
	switch {
	case len(names) != 1 || !o.whole:
		return command.NoArguments(cmd, names)
	case spelling.Nearest(names[0], []string{"phase"}) != "":
		return command.UnknownCommand(cmd, names[0])
	case o.account != "" || o.name != "":
		return errors.New("give the service account once: as an argument or by a flag")
	}
	o.account = names[0]
	return nil
}

// splitAccount reads --service-account.
func (o *accountOptions) splitAccount(namespaceGiven bool) error {
	if o.account == "" {
		return nil
	}
	if o.name != "" {
		return errors.New("give either --service-account or --service-account-name, not both")
	}
	namespace, name, both := strings.Cut(o.account, "/")
	switch {
	case !both:
		o.name = o.account
	case namespace == "" || name == "" || strings.Contains(name, "/"):
		return fmt.Errorf("--service-account %q: write NAME or NAMESPACE/NAME", o.account)
	case namespaceGiven && namespace != o.namespace:
		return fmt.Errorf("--service-account %s and --namespace %s name two namespaces", o.account, o.namespace)
	default:
		o.namespace, o.name = namespace, name
	}
	return nil
}

// phases are those to run, in order, after the flags that they need were checked
// all together.
func (o *accountOptions) phases(selected []phase) ([]provision.Phase, error) {
	var names []provision.Phase
	skipped := 0
	for _, p := range selected {
		if slices.Contains(o.skip, string(p.name)) || slices.Contains(o.skip, p.alias) {
			skipped++
			continue
		}
		names = append(names, p.name)
	}
	var problems []error
	if skipped != len(o.skip) {
		var known []string
		for _, p := range selected {
			known = append(known, string(p.name))
		}
		problems = append(problems, fmt.Errorf("--skip-phases %s: the phases are %s", strings.Join(o.skip, ","), strings.Join(known, ", ")))
	}
	// A role is optional where everything is made.
	if o.whole && o.role == "" && o.scope == "" && o.assignment == "" {
		names = slices.DeleteFunc(names, func(name provision.Phase) bool { return name == provision.PhaseRole })
	}
	account := slices.Contains(names, provision.PhaseAccount) || slices.Contains(names, provision.PhaseCredential)
	application := slices.Contains(names, provision.PhaseIdentity) && !o.identity.Given()
	role := slices.Contains(names, provision.PhaseRole)
	for _, check := range []struct {
		bad     bool
		problem string
	}{
		{len(names) == 0, "no phase is left to run"},
		{(account || application) && o.name == "", "--service-account is required: NAME or NAMESPACE/NAME"},
		{(account || application) && o.namespace == "", "--namespace is required"},
		{role && o.assignment == "" && o.scope == "", "--azure-scope is required to assign a role; or leave --azure-role out too"},
		{role && o.assignment == "" && o.role == "", "--azure-role is required to assign a role; or leave --azure-scope out too"},
		{role && !o.whole && o.assignment == "" && !o.identity.Given() && o.principalName == "" && o.principalID == "" && o.name == "",
			"say who gets the role: --service-principal-object-id, --service-principal-name, --managed-identity or --aad-application-..."},
		{!o.remove && (o.expiration < time.Duration(contract.MinTokenExpiration)*time.Second || o.expiration > time.Duration(contract.MaxTokenExpiration)*time.Second),
			"--service-account-token-expiration must be 1h to 24h"},
		{o.createManaged && o.identity.Managed == "", "--create-managed-identity needs --managed-identity"},
		{o.deleteManaged && o.identity.Managed == "", "--delete-managed-identity needs --managed-identity"},
		{o.remove && !o.whole && slices.Contains(names, provision.PhaseIdentity) && o.identity.Managed != "" && !o.deleteManaged,
			"a managed identity is deleted only with --delete-managed-identity"},
		{o.location != "" && !o.createManaged, "--location is for --create-managed-identity"},
	} {
		if check.bad {
			problems = append(problems, errors.New(check.problem))
		}
	}
	problems = append(problems, command.CheckOutput(o.output), o.checkNames(account || application, role))
	if o.whole && !o.remove {
		problems = append(problems, o.wait.Check())
	}
	if o.remove {
		slices.Reverse(names)
	}
	return names, errors.Join(problems...)
}

// checkNames checks what Azure and Kubernetes would refuse only after something was
// written.
func (o *accountOptions) checkNames(account, role bool) error {
	var problems []error
	if account && o.name != "" && o.namespace != "" {
		if _, _, ok := federation.ParseSubject(contract.Subject(o.namespace, o.name)); !ok {
			problems = append(problems, fmt.Errorf("service account %q in namespace %q: Kubernetes does not allow these names", o.name, o.namespace))
		}
	}
	if role && o.assignment != "" {
		if _, _, err := arm.ParseAssignmentID(o.assignment); err != nil {
			problems = append(problems, fmt.Errorf("--role-assignment-id: %w", err))
		}
	}
	if role && o.scope != "" {
		if err := arm.CheckScope(o.scope); err != nil {
			problems = append(problems, fmt.Errorf("--azure-scope: %w", err))
		}
	}
	if n := utf8.RuneCountInString(o.identity.Application.Name); n > provision.MaxApplicationName {
		problems = append(problems, fmt.Errorf("--aad-application-name has %d characters: Entra takes at most %d", n, provision.MaxApplicationName))
	}
	if o.createManaged && !strings.Contains(o.identity.Managed, "/") && o.identity.Managed != "" {
		if err := arm.CheckIdentityName(o.identity.Managed); err != nil {
			problems = append(problems, fmt.Errorf("--managed-identity: %w", err))
		}
	}
	if !o.remove {
		if !federation.ValidAudience(o.audience) {
			problems = append(problems, fmt.Errorf("--audience: want at most %d characters, and no space around them", federation.MaxField))
		}
		if o.issuer != "" {
			if problem := federation.IssuerProblem(o.issuer); problem != "" {
				problems = append(problems, fmt.Errorf("--service-account-issuer-url: %s", problem))
			}
		}
	}
	return errors.Join(problems...)
}

// An accountReport is what create and delete print; docs/schema/serviceaccount.json
// has its schema.
type accountReport struct {
	DryRun         bool                `json:"dryRun"`
	ServiceAccount string              `json:"serviceAccount,omitempty"`
	Issuer         string              `json:"issuer,omitempty"`
	Identity       *provision.Identity `json:"identity,omitempty"`
	Steps          []provision.Step    `json:"steps"`
}

// request is what the flags say.
func (o *accountOptions) request(session *connect.Session, phases []provision.Phase) (provision.Request, error) {
	reference, err := o.identity.Reference(session)
	reference.PrincipalID, reference.PrincipalName = o.principalID, o.principalName
	return provision.Request{
		Remove: o.remove, Phases: phases, Reference: reference, Namespace: o.namespace, Account: o.name,
		TenantID: session.Tenant, TokenExpiration: o.expiration, Issuer: o.issuer, Audience: o.audience, CompareIssuer: o.whole && !o.remove,
		Role: o.role, Scope: o.scope, Assignment: o.assignment, CreateManaged: o.createManaged, Location: o.location, DeleteManaged: o.deleteManaged,
		Tags: provision.Tags(o.namespace, o.name, version.String()),
	}, err
}

// run looks, tells beforehand what would be refused, and does what is left to do.
func run(ctx context.Context, r *command.Env, o *accountOptions, phases []provision.Phase) error {
	session, err := o.azure.SignIn(ctx, r)
	if err != nil {
		return err
	}
	request, err := o.request(session, phases)
	if err != nil {
		return err
	}
	clients := provision.Clients{Azure: session.Steps(), Credentials: connect.Credentials(r, session), Audience: install.Audience}
	clients.Cluster, clients.NoCluster = o.cluster.Connect(r)
	seen, err := clients.Look(ctx, request)
	if err != nil {
		return err
	}
	if seen.ClusterIssuer != "" && seen.ClusterIssuer != seen.Issuer {
		r.Log.Warn("the cluster's tokens have a different issuer from the federated credential, so they will not match it", "cluster", seen.ClusterIssuer, "credential", seen.Issuer)
	}
	plan := request.Plan(seen)
	if o.whole && o.check && (!o.remove || !o.dryRun) {
		if err := connect.CheckPermissions(ctx, r, session, plan.Needs); err != nil {
			return err // it tells which right is missing
		}
	}
	if seen.Withheld != nil {
		return seen.Withheld
	}
	if !o.dryRun && o.output == "text" && slices.ContainsFunc(plan.Steps, func(s provision.Step) bool {
		return s.Outcome != provision.Unchanged && s.Outcome != provision.Absent
	}) {
		session.Announce(r)
	}
	if o.remove && !o.dryRun {
		if err := o.ask(ctx, r, plan); err != nil {
			return err
		}
	}
	report := accountReport{DryRun: o.dryRun, Issuer: seen.Issuer, Steps: []provision.Step{}}
	if o.name != "" {
		report.ServiceAccount = o.namespace + "/" + o.name
	}
	result := provision.Result{Identity: seen.Identity}
	done := func(s provision.Step) {
		report.Steps = append(report.Steps, s)
		if o.output == "text" {
			printStep(r, s, o.dryRun)
		}
	}
	if o.dryRun {
		for _, step := range plan.Steps {
			done(step)
		}
	} else {
		result, err = clients.Apply(ctx, plan, done)
	}
	if id := result.Identity; id != (provision.Identity{Kind: id.Kind}) {
		report.Identity = &id
	}
	if err := errors.Join(err, r.Print(o.output, report, func() {})); err != nil {
		return err
	}
	if o.remove || !o.whole || o.dryRun || !o.wait.Wait || !slices.Contains(phases, provision.PhaseCredential) {
		return nil
	}
	return waitForTokens(ctx, r, o, clients.Cluster, seen, result, session)
}

// ask shows what will be deleted, and asks on a terminal. Without one upstream's command
// does not ask either, and scripts go on as they did.
func (o *accountOptions) ask(ctx context.Context, r *command.Env, plan provision.Plan) error {
	n := 0
	for _, step := range plan.Steps {
		if step.Outcome == provision.Deleted {
			n++
		}
	}
	if n == 0 || !terminal.IsTerminal(r.In) {
		return nil
	}
	if o.output == "text" {
		for _, step := range plan.Steps {
			printStep(r, step, true)
		}
	}
	return o.consent.Ask(ctx, r, fmt.Sprintf("Delete %s? Pods of the service account get no new tokens.", command.Number(n, "object")))
}

func printStep(r *command.Env, s provision.Step, dryRun bool) {
	outcome := string(s.Outcome)
	if dryRun && s.Outcome != provision.Unchanged && s.Outcome != provision.Absent {
		outcome = "would be " + outcome
	}
	colours := map[provision.Outcome]terminal.Colour{
		provision.Created: terminal.Good, provision.Updated: terminal.Changed, provision.Deleted: terminal.Bad,
	}
	r.Out.Printf("%s: %s: %s\n", s.Phase, s.What, colours[s.Outcome].Text(outcome))
	for _, c := range s.Changes {
		if c.Old == "" {
			continue
		}
		owner := ""
		if c.Manager != "" {
			owner = ", set by " + c.Manager
		}
		r.Out.Printf("%s: %s: %s was %q%s, is %q\n", s.Phase, s.What, c.Key, c.Old, owner, c.New)
	}
}

// waitForTokens waits until the credential works, if this cluster's tokens can
// tell.
func waitForTokens(ctx context.Context, r *command.Env, o *accountOptions, cluster *kube.Client, seen provision.Seen, result provision.Result, session *connect.Session) error {
	switch {
	case seen.NoIssuer != nil:
		r.Log.Warn("not waiting until the credential works: the cluster can't be asked", "error", azure.Brief(seen.NoIssuer))
		return nil
	case seen.ClusterIssuer != seen.Issuer:
		r.Log.Warn("not waiting until the credential works: its issuer is not this cluster's")
		return nil
	case result.Identity.ClientID == "" || result.TenantID == "":
		r.Log.Warn("not waiting until the credential works: its client ID or tenant is not known")
		return nil
	}
	err := exchange.WaitUntilUsable(ctx, r, o.wait, cluster, session.Cloud, []exchange.WaitTarget{{
		Namespace: o.namespace, ServiceAccount: o.name, Audience: seen.Audience,
		TenantID: result.TenantID, ClientID: result.Identity.ClientID, Written: time.Now(), NewIdentity: result.Fresh,
	}})
	if err == nil && o.output == "text" {
		r.Err.Printf("pods of service account %s/%s that have the label %s: %q get tokens of client ID %s; to try it, run:\n",
			o.namespace, o.name, contract.UseLabel, contract.UseLabelValue, result.Identity.ClientID)
		r.Err.Printf("  azwi token --service-account %s/%s --resource %s --decode\n", o.namespace, o.name, session.Cloud.ResourceManagerAudiences[0])
	}
	return err
}
