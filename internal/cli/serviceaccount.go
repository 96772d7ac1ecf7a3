package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"azwi/contract"
	"azwi/internal/azure"
	"azwi/internal/azure/arm"
	"azwi/internal/identity/federation"
	"azwi/internal/identity/provision"
	"azwi/internal/install"
	"azwi/internal/kube"
)

// The phases of azwi serviceaccount, by upstream's names and in the order of
// create; delete goes backwards.
const (
	phaseApplication = "aad-application"
	phaseAccount     = "service-account"
	phaseCredential  = "federated-identity"
	phaseRole        = "role-assignment"
)

type phase struct{ name, alias, create, remove string }

func phases() []phase {
	return []phase{
		{phaseApplication, "app", "Create the application and its service principal, or the managed identity", "Delete the application and with it its service principal"},
		{phaseAccount, "sa", "Create the service account or annotate it", "Delete the service account"},
		{phaseCredential, "fi", "Create the federated credential that lets the service account use the identity", "Delete the federated credential"},
		{phaseRole, "ra", "Assign the identity a role", "Delete the role assignment"},
	}
}

func newServiceAccountCommand(r *root) *cobra.Command {
	cmd := &cobra.Command{
		Use: "serviceaccount", Aliases: []string{"sa"}, Short: "Create or delete what one service account needs", Args: cobra.NoArgs,
	}
	cmd.AddCommand(newAccountCommand(r, false), newAccountCommand(r, true))
	return cmd
}

// accountOptions are the flags of create, delete and their phases.
type accountOptions struct {
	remove bool
	// whole is false for a single phase.
	whole bool

	azure    azureOptions
	cluster  clusterOptions
	identity identityOptions

	principalName, principalID string
	name, namespace            string
	issuer, audience           string
	expiration                 time.Duration
	role, scope, assignment    string
	location                   string
	createManaged              bool
	deleteManaged              bool

	skip   []string
	check  bool
	wait   waitOptions
	dryRun bool
	output string
}

func newAccountCommand(r *root, remove bool) *cobra.Command {
	verb, short := "create", "Create an identity and let a service account use it"
	if remove {
		verb, short = "delete", "Delete what create makes"
	}
	cmd := accountCommand(r, &accountOptions{remove: remove, whole: true}, phases())
	cmd.Use, cmd.Short, cmd.Long = verb, short, accountHelp(remove)
	only := &cobra.Command{Use: "phase", Short: "Run one phase of " + verb + " alone", Args: cobra.NoArgs}
	for _, p := range phases() {
		one := accountCommand(r, &accountOptions{remove: remove}, []phase{p})
		one.Use, one.Aliases, one.Short = p.name, []string{p.alias}, p.create
		if remove {
			one.Short = p.remove
		}
		only.AddCommand(one)
	}
	cmd.AddCommand(only)
	return cmd
}

func accountHelp(remove bool) string {
	var text strings.Builder
	text.WriteString("Phases, in this order:\n\n")
	all := phases()
	if remove {
		slices.Reverse(all)
	}
	for _, p := range all {
		short := p.create
		if remove {
			short = p.remove
		}
		fmt.Fprintf(&text, "  %-19s %s\n", p.name, short)
	}
	if remove {
		text.WriteString(`
What is gone already is no error. A managed identity stays unless
--delete-managed-identity is given.`)
	} else {
		text.WriteString(`
What exists already is found, also if upstream's azwi made it, so an interrupted run
is completed by the same command. Before anything is written it is checked whether the
caller may do it all; finally, the command waits until tokens are issued.

  azwi serviceaccount create --service-account-namespace shop --service-account-name orders
  azwi serviceaccount create --service-account-namespace shop --service-account-name orders \
    --managed-identity orders --resource-group web --create-managed-identity \
    --azure-role "Key Vault Secrets User" --azure-scope /subscriptions/ID/resourceGroups/web`)
	}
	text.WriteString(`

Exit code: 0 done, 1 failure, 3 not permitted`)
	if !remove {
		text.WriteString(", 4 no tokens in time")
	}
	return text.String() + "."
}

func accountCommand(r *root, o *accountOptions, selected []phase) *cobra.Command {
	cmd := &cobra.Command{Args: noArguments, RunE: func(cmd *cobra.Command, _ []string) error {
		names, err := o.phases(selected)
		if err != nil {
			return err
		}
		if o.remove {
			return r.deleteAccount(cmd.Context(), o, names)
		}
		return r.createAccount(cmd.Context(), o, names)
	}}
	f := cmd.Flags()
	f.StringVar(&o.name, "service-account-name", "", "name of the service account")
	f.StringVar(&o.namespace, "service-account-namespace", "default", "namespace of the service account")
	f.StringVar(&o.issuer, "service-account-issuer-url", "", "issuer of the cluster's tokens, byte for byte (default: the cluster's)")
	f.StringVar(&o.role, "azure-role", "", "name of the role to assign")
	f.StringVar(&o.scope, "azure-scope", "", "resource ID of the scope of the role assignment")
	if o.remove {
		f.StringVar(&o.assignment, "role-assignment-id", "", "resource ID of the role assignment to delete")
		f.BoolVar(&o.deleteManaged, "delete-managed-identity", false, "delete the managed identity as well")
	} else {
		f.DurationVar(&o.expiration, "service-account-token-expiration", time.Duration(contract.DefaultTokenExpiration)*time.Second, "lifetime of the token in pods, 1h to 24h")
		f.StringVar(&o.audience, "audience", "", "audience of the federated credential (default: the one that the installation in the cluster gives to pods, else "+contract.DefaultAudience+")")
		f.BoolVar(&o.createManaged, "create-managed-identity", false, "create the managed identity if it does not exist")
		f.StringVar(&o.location, "location", "", "region of the new managed identity (default: the region of its resource group)")
	}
	f.StringVar(&o.principalName, "service-principal-name", "", "name of the service principal (default the application's own)")
	f.StringVar(&o.principalID, "service-principal-object-id", "", "object ID of the service principal (default the application's own)")
	if o.whole {
		f.StringSliceVar(&o.skip, "skip-phases", nil, "phases to leave out")
		f.BoolVar(&o.check, "check", true, "check permissions before anything is written")
		if !o.remove {
			o.wait.register(cmd)
		}
	}
	f.BoolVar(&o.dryRun, "dry-run", false, "show what would be done, and write nothing")
	outputFlag(cmd, &o.output)
	o.identity.register(cmd)
	o.cluster.register(cmd)
	o.azure.register(cmd)
	return cmd
}

// phases are those to run, in order, after the flags that they need were checked
// all together.
func (o *accountOptions) phases(selected []phase) ([]string, error) {
	var names []string
	skipped := 0
	for _, p := range selected {
		if slices.Contains(o.skip, p.name) || slices.Contains(o.skip, p.alias) {
			skipped++
			continue
		}
		names = append(names, p.name)
	}
	var problems []error
	if skipped != len(o.skip) {
		var known []string
		for _, p := range selected {
			known = append(known, p.name)
		}
		problems = append(problems, fmt.Errorf("--skip-phases %s: the phases are %s", strings.Join(o.skip, ","), strings.Join(known, ", ")))
	}
	// A role is optional where everything is made.
	if o.whole && o.role == "" && o.scope == "" && o.assignment == "" {
		names = slices.DeleteFunc(names, func(name string) bool { return name == phaseRole })
	}
	account := slices.Contains(names, phaseAccount) || slices.Contains(names, phaseCredential)
	application := slices.Contains(names, phaseApplication) && !o.identity.given()
	role := slices.Contains(names, phaseRole)
	for _, check := range []struct {
		bad     bool
		problem string
	}{
		{len(names) == 0, "no phase is left to run"},
		{(account || application) && o.name == "", "--service-account-name is required"},
		{(account || application) && o.namespace == "", "--service-account-namespace is required"},
		{role && o.assignment == "" && o.scope == "", "--azure-scope is required to assign a role; or leave --azure-role out too"},
		{role && o.assignment == "" && o.role == "", "--azure-role is required to assign a role; or leave --azure-scope out too"},
		{role && !o.whole && o.assignment == "" && !o.identity.given() && o.principalName == "" && o.principalID == "" && o.name == "",
			"say who gets the role: --service-principal-object-id, --service-principal-name, --managed-identity or --aad-application-..."},
		{!o.remove && (o.expiration < time.Duration(contract.MinTokenExpiration)*time.Second || o.expiration > time.Duration(contract.MaxTokenExpiration)*time.Second),
			"--service-account-token-expiration must be 1h to 24h"},
		{o.createManaged && o.identity.managed == "", "--create-managed-identity needs --managed-identity"},
		{o.deleteManaged && o.identity.managed == "", "--delete-managed-identity needs --managed-identity"},
		{o.location != "" && !o.createManaged, "--location is for --create-managed-identity"},
	} {
		if check.bad {
			problems = append(problems, errors.New(check.problem))
		}
	}
	problems = append(problems, checkOutput(o.output), o.checkNames(account || application, role))
	if o.whole && !o.remove {
		problems = append(problems, o.wait.check())
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
	if n := utf8.RuneCountInString(o.identity.application.name); n > provision.MaxApplicationName {
		problems = append(problems, fmt.Errorf("--aad-application-name has %d characters: Entra takes at most %d", n, provision.MaxApplicationName))
	}
	if o.createManaged && !strings.Contains(o.identity.managed, "/") && o.identity.managed != "" {
		if err := arm.CheckIdentityName(o.identity.managed); err != nil {
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

// An accountStep is what one step of a phase did.
type accountStep struct {
	Phase string `json:"phase"`
	// What names the object.
	What    string `json:"what"`
	Outcome string `json:"outcome"`
	// ID is the object's ID in Azure.
	ID      string             `json:"id,omitempty"`
	Changes []provision.Change `json:"changes,omitempty"`
}

// The outcomes of an accountStep.
const (
	outcomeCreated   = "created"
	outcomeUpdated   = "updated"
	outcomeUnchanged = "unchanged"
	outcomeDeleted   = "deleted"
	outcomeAbsent    = "absent"
)

// An accountReport is what create and delete print; docs/schema/serviceaccount.json
// has its schema.
type accountReport struct {
	DryRun         bool                `json:"dryRun"`
	ServiceAccount string              `json:"serviceAccount,omitempty"`
	Issuer         string              `json:"issuer,omitempty"`
	Identity       *provision.Identity `json:"identity,omitempty"`
	Steps          []accountStep       `json:"steps"`
}

// An accountRun is one run of create or delete.
type accountRun struct {
	*root
	o       *accountOptions
	phases  []string
	session *azureSession
	steps   provision.Azure
	// credentials reads and writes those of the identity.
	credentials *federation.Client
	// cluster is nil with clusterErr if there is none.
	cluster    *kube.Client
	clusterErr error
	// clusterIssuer is empty until it was asked for, audience until needIssuer.
	clusterIssuer string
	audience      string
	reference     provision.Reference
	identity      provision.Identity
	// role is the resource ID of the role's definition; empty until it was looked up.
	role string
	// found says that the identity exists, fresh that this run made it.
	found, fresh bool
	report       accountReport
}

func (r *root) accountRun(ctx context.Context, o *accountOptions, phases []string) (*accountRun, error) {
	session, err := o.azure.signIn(ctx, r.getenv)
	if err != nil {
		return nil, err
	}
	run := &accountRun{root: r, o: o, phases: phases, session: session, steps: session.steps(), audience: o.audience}
	run.credentials = federation.NewClient(federation.Config{Graph: session.graph, ARM: session.arm, Waiting: func(i federation.Identity, why error, delay time.Duration) {
		r.log.Warn("Azure refuses for the moment; trying again", "identity", i.String(), "in", delay, "error", azure.Brief(why))
	}})
	run.report = accountReport{DryRun: o.dryRun, Issuer: o.issuer, Steps: []accountStep{}}
	if o.name != "" {
		run.report.ServiceAccount = o.namespace + "/" + o.name
	}
	run.cluster, run.clusterErr = o.cluster.connect()
	if run.reference, err = o.identity.reference(session); err != nil {
		return nil, err
	}
	run.reference.PrincipalID, run.reference.PrincipalName = o.principalID, o.principalName
	return run, nil
}

func (a *accountRun) runs(phase string) bool { return slices.Contains(a.phases, phase) }

// needIssuer finds the issuer out if it was not given.
func (a *accountRun) needIssuer(ctx context.Context) error {
	if a.report.Issuer != "" {
		a.audience = cmp.Or(a.audience, contract.DefaultAudience)
		return nil
	}
	issuer, err := a.readIssuer(ctx)
	if err != nil {
		return fmt.Errorf("%w; or give --service-account-issuer-url", err)
	}
	a.report.Issuer = issuer
	if a.audience == "" {
		// The issuer is this cluster's, so its pods are the ones that will present the token.
		if a.audience, err = install.Audience(ctx, a.cluster); err != nil {
			return fmt.Errorf("find out which audience the tokens of this cluster's pods have; or give --audience: %w", err)
		}
	}
	return nil
}

func (a *accountRun) readIssuer(ctx context.Context) (string, error) {
	if a.clusterErr != nil {
		return "", a.clusterErr
	}
	if a.clusterIssuer == "" {
		issuer, err := a.cluster.Issuer(ctx)
		if err != nil {
			return "", err
		}
		a.clusterIssuer = issuer
	}
	return a.clusterIssuer, nil
}

// needReference names the application as upstream does if no identity was given.
func (a *accountRun) needReference(ctx context.Context) error {
	if a.o.identity.given() {
		return nil
	}
	if err := a.needIssuer(ctx); err != nil {
		return err
	}
	a.reference.Name = federation.ApplicationName(a.o.namespace, a.o.name, a.report.Issuer)
	return nil
}

// find looks the identity up.
func (a *accountRun) find(ctx context.Context) error {
	err := a.needReference(ctx)
	if err != nil {
		return err
	}
	if a.identity, a.found, err = a.steps.Find(ctx, a.reference); err != nil {
		return err
	}
	a.noteIdentity()
	return nil
}

func (a *accountRun) noteIdentity() {
	if a.found {
		identity := a.identity
		a.report.Identity = &identity
	}
}

// federated is the identity as internal/identity/federation has it.
func (a *accountRun) federated() federation.Identity {
	i := federation.Identity{Name: a.identity.Name, ApplicationID: a.identity.ObjectID, Fresh: a.fresh}
	if a.identity.ObjectID == "" {
		i.ManagedIdentity = a.reference.Managed
	}
	return i
}

// step notes and tells what was done.
func (a *accountRun) step(s accountStep) {
	a.report.Steps = append(a.report.Steps, s)
	if a.o.output != "text" {
		return
	}
	outcome := s.Outcome
	if a.o.dryRun && outcome != outcomeUnchanged && outcome != outcomeAbsent {
		outcome = "would be " + outcome
	}
	a.Out.Printf("%s: %s: %s\n", s.Phase, s.What, outcome)
	for _, c := range s.Changes {
		if c.Old == "" {
			continue
		}
		owner := ""
		if c.Manager != "" {
			owner = ", set by " + c.Manager
		}
		a.Out.Printf("%s: %s: %s was %q%s, is %q\n", s.Phase, s.What, c.Key, c.Old, owner, c.New)
	}
}

// runPhases runs the steps of the phases in order, and prints what was done,
// though one of them may have failed.
func (a *accountRun) runPhases(ctx context.Context, steps map[string]func(context.Context) error) error {
	var failure error
	for _, phase := range a.phases {
		if err := steps[phase](ctx); err != nil {
			failure = fmt.Errorf("phase %s: %w", phase, err)
			break
		}
	}
	return errors.Join(failure, a.print(a.o.output, a.report, func() {}))
}
