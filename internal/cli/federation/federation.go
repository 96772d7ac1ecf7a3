package federation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"azwi/internal/identity/federation"

	"github.com/spf13/cobra"

	"azwi/contract"
	"azwi/internal/azure"
	"azwi/internal/azure/arm"
	"azwi/internal/azure/permission"
	"azwi/internal/cli/command"
	"azwi/internal/cli/connect"
	"azwi/internal/cli/exchange"
	"azwi/internal/guid"
	"azwi/internal/terminal"
)

// New makes the command.
func New(r *command.Env) *cobra.Command {
	c := &cobra.Command{
		Use: "federation", Short: "Federate many service accounts from one file", Args: cobra.NoArgs,
		Example: `  azwi federation import -s SUBSCRIPTION > federation.yaml
  azwi federation plan -f federation.yaml
  azwi federation apply -f federation.yaml`,
		Annotations: map[string]string{command.Docs: "docs/federation.md"},
	}
	c.AddCommand(newFederationPlan(r), newFederationApply(r), newFederationDestroy(r), newFederationList(r),
		newFederationPrune(r), newFederationImport(r), newFederationMigrate(r))
	return c
}

// federationOptions are the flags of all its commands.
type federationOptions struct {
	azure  connect.Azure
	file   string
	output string
}

func (o *federationOptions) register(c *cobra.Command) {
	o.azure.Register(c)
	command.Alias(c.Flags(), "file", "filename")
	c.Flags().StringVarP(&o.file, "filename", "f", "", "federation file; - is the standard input")
	command.OutputFlag(c, &o.output)
}

// A federationRun is what a command works with.
type federationRun struct {
	*command.Env
	output  string
	session *connect.Session
	client  *federation.Client
	// file is nil where none is given.
	file    *federation.File
	targets []federation.Target
}

func begin(ctx context.Context, r *command.Env, o federationOptions) (*federationRun, error) {
	if err := command.CheckOutput(o.output); err != nil {
		return nil, err
	}
	f := &federationRun{Env: r, output: o.output}
	if o.file != "" {
		text, err := readFile(r, o.file)
		if err != nil {
			return nil, err
		}
		if f.file, err = federation.Read(o.file, text); err != nil {
			return nil, err
		}
		if o.azure.Subscription == "" && r.Getenv("AZURE_SUBSCRIPTION_ID") == "" {
			o.azure.Subscription = subscriptionOf(f.file)
		}
	}
	var err error
	if f.session, err = o.azure.SignIn(ctx, r); err != nil {
		return nil, err
	}
	f.client = connect.Credentials(r, f.session)
	return f, nil
}

// withFile is federation with the file and what Azure has of it.
func withFile(ctx context.Context, r *command.Env, o federationOptions) (*federationRun, error) {
	if o.file == "" {
		return nil, errors.New("--filename is required: give the federation file with -f")
	}
	f, err := begin(ctx, r, o)
	if err != nil {
		return nil, err
	}
	f.targets, err = f.client.Targets(ctx, f.file, contract.DefaultAudience)
	return f, refused(err)
}

// subscriptionOf is the one of the first managed identity, to find the tenant by.
func subscriptionOf(f *federation.File) string {
	for _, e := range f.Identities {
		if id, err := arm.ParseIdentityID(e.ManagedIdentity); err == nil {
			return id.Subscription
		}
	}
	return ""
}

func readFile(r *command.Env, name string) ([]byte, error) {
	in := r.In
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("--filename: %w", err)
		}
		defer file.Close()
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, federation.MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("--filename: %w", err)
	}
	return text, nil
}

// refused gives Azure's "not permitted" its exit code.
func refused(err error) error {
	if azure.Forbidden(err) {
		return command.Exit(command.ExitNotPermitted, err)
	}
	return err
}

// federationChanges are what plan, apply, destroy, prune and migrate-issuer print as
// JSON; docs/schema/federation-changes.json is made from them.
type federationChanges struct {
	// Changes are in the order in which they are made to each identity.
	Changes []federation.Change `json:"changes"`
}

func newFederationPlan(r *command.Env) *cobra.Command {
	var o federationOptions
	var prune pruneFlag
	c := &cobra.Command{
		Use: "plan -f FILE", Short: "Show what apply would change", Args: cobra.NoArgs,
		Long: `Show what apply would change. Nothing is written.

Exit code: 0 nothing to change, 2 changes, 3 not permitted to read, 1 failure.`,
		Example: `  azwi federation plan -f federation.yaml
  azwi federation plan -f federation.yaml --prune -o json`,
		RunE: func(c *cobra.Command, _ []string) error {
			f, err := withFile(c.Context(), r, o)
			if err != nil {
				return err
			}
			plan, err := f.file.Plan(f.targets, prune.how())
			if err != nil {
				return err
			}
			if err := f.show(plan, "azwi federation apply -f "+o.file+prune.flag()); err != nil || len(plan.Changes) == 0 {
				return err
			}
			return command.Exit(command.ExitDifferent, nil)
		},
	}
	o.register(c)
	prune.register(c)
	return c
}

// A pruneFlag is --prune.
type pruneFlag bool

func (p *pruneFlag) register(c *cobra.Command) {
	c.Flags().BoolVar((*bool)(p), "prune", false, "remove credentials that azwi made for the file's clusters and that the file does not want")
}

func (p pruneFlag) how() federation.Pruning {
	if p {
		return federation.Prune
	}
	return federation.Keep
}

func (p pruneFlag) flag() string {
	if p {
		return " --prune"
	}
	return ""
}

// show prints a plan. next is the command that carries it out; empty: none.
func (f *federationRun) show(plan federation.Plan, next string) error {
	return f.Print(f.output, federationChanges{emptyNotNull(plan.Changes)}, func() { f.showText(plan, next) })
}

func emptyNotNull[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (f *federationRun) showText(plan federation.Plan, next string) {
	f.Out.Rows(func(row func(terminal.Colour, ...string)) {
		var identity string
		heading := func(name string) {
			if name != identity {
				identity = name
				row(terminal.Plain, name)
			}
		}
		for _, c := range plan.Changes {
			heading(c.Identity)
			row(colour(c.Action), f.cells(sign(c.Action), c.Issuer, c.Subject, c.Audience, c.Name)...)
			if c.Action == federation.Update {
				row(terminal.Plain, "    was: "+strings.Join(was(c), ", "))
			}
		}
		for _, k := range plan.Kept {
			heading(k.Identity)
			c := k.Credential
			row(terminal.Plain, append(f.cells("=", c.Issuer, c.Subject, c.Audience, c.Name), "kept: "+k.Reason.Text())...)
		}
	})
	if len(plan.Changes)+len(plan.Kept) > 0 {
		f.Out.Printf("\n")
	}
	text := tally([]count{
		{plan.Count(federation.Add), "to add"}, {plan.Count(federation.Update), "to change"}, {plan.Count(federation.Remove), "to remove"}, {len(plan.Kept), "kept"},
	})
	switch {
	case len(plan.Changes) == 0:
		text = strings.TrimSuffix("nothing to change, "+text, ", ")
	case next != "":
		text += "; run: " + next
	}
	f.Out.Printf("%s\n", text)
}

// A count is of something that is said only if there is any.
type count struct {
	n    int
	what string
}

func tally(counts []count) string {
	var some []string
	for _, c := range counts {
		if c.n > 0 {
			some = append(some, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	return strings.Join(some, ", ")
}

// was are the fields that a change changes, as they are before it.
func was(c federation.Change) []string {
	var fields []string
	before := c.Before()
	for _, field := range []struct{ name, before, after string }{
		{"issuer", before.Issuer, c.Issuer}, {"subject", before.Subject, c.Subject}, {"audience", before.Audience, c.Audience},
	} {
		if field.before != field.after {
			fields = append(fields, field.name+" "+field.before)
		}
	}
	return fields
}

func sign(action federation.Action) string {
	switch action {
	case federation.Add:
		return "+"
	case federation.Remove:
		return "-"
	}
	return "~"
}

func colour(action federation.Action) terminal.Colour {
	switch action {
	case federation.Add:
		return terminal.Good
	case federation.Remove:
		return terminal.Bad
	}
	return terminal.Changed
}

// cells are a credential for people, after a sign: its cluster by name where the
// file knows it, and the audience where it is not the usual one.
func (f *federationRun) cells(sign, issuer, subject, audience, name string) []string {
	cells := []string{"  " + sign + " " + f.account(subject), f.cluster(issuer), name}
	if audience != contract.DefaultAudience {
		cells = append(cells, "audience "+audience)
	}
	return cells
}

func (f *federationRun) account(subject string) string {
	if namespace, account, ok := federation.ParseSubject(subject); ok {
		return namespace + "/" + account
	}
	return cmp.Or(subject, "(expression)")
}

func (f *federationRun) cluster(issuer string) string {
	if f.file != nil {
		for _, c := range f.file.Clusters {
			if c.Issuer == issuer {
				return c.Name
			}
		}
	}
	return issuer
}

// applyOptions are the flags of commands that write.
type applyOptions struct {
	federationOptions
	dryRun  bool
	consent command.Consent
	// next is the command that does what --dry-run shows. Empty: none is told.
	next string
	// undo says how to bring back what was removed. Empty: not at all.
	undo string
}

func (o *applyOptions) register(c *cobra.Command) {
	o.federationOptions.register(c)
	o.consent.Register(c)
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "show what would be done, and write nothing")
}

func newFederationApply(r *command.Env) *cobra.Command {
	var o applyOptions
	var wait exchange.WaitOptions
	var kubeconfig string
	var prune pruneFlag
	c := &cobra.Command{
		Use: "apply -f FILE", Short: "Change Azure to match the file", Args: cobra.NoArgs,
		Long: `Change Azure to match the file, and wait until tokens are issued.

Exit code: 0 done, 3 not permitted, 4 not usable in time, 1 failure.`,
		Example: `  azwi federation apply -f federation.yaml
  azwi federation apply -f federation.yaml --prune --dry-run`,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx := c.Context()
			if err := errors.Join(wait.Check(), readableKubeconfig(kubeconfig)); err != nil {
				return err
			}
			f, err := withFile(ctx, r, o.federationOptions)
			if err != nil {
				return err
			}
			plan, err := f.file.Plan(f.targets, prune.how())
			if err != nil {
				return err
			}
			o.undo = "add the service accounts to " + o.file + ", then run: azwi federation apply -f " + o.file
			o.next = "azwi federation apply -f " + o.file + prune.flag()
			made, err := f.apply(ctx, plan, &o)
			if err != nil || o.dryRun {
				return err
			}
			return f.wait(ctx, wait, kubeconfig, made)
		},
	}
	o.register(c)
	prune.register(c)
	wait.Register(c)
	c.Flags().StringVar(&kubeconfig, "kubeconfig", "", "kubeconfig file (default $KUBECONFIG, else ~/.kube/config)")
	return c
}

// A madeChange is a change with when it was made.
type madeChange struct {
	federation.Change
	at time.Time
}

// apply makes the changes of a plan and tells about them. It returns those that
// were made, with the error.
func (f *federationRun) apply(ctx context.Context, plan federation.Plan, o *applyOptions) ([]madeChange, error) {
	if o.dryRun {
		return nil, f.show(plan, o.next)
	}
	if len(plan.Changes) > 0 && f.output == "text" {
		f.session.Announce(f.Env)
	}
	if removals := plan.Count(federation.Remove); removals > 0 {
		if f.output == "text" {
			f.showText(plan, "")
		}
		if err := o.consent.Ask(ctx, f.Env, fmt.Sprintf("Remove %s? Pods that use them get no new tokens.", command.Number(removals, "credential"))); err != nil {
			return nil, err
		}
	}
	if len(plan.Changes) > 0 {
		if err := connect.CheckPermissions(ctx, f.Env, f.session, federationNeeds(plan)); err != nil {
			return nil, err
		}
	}
	view := newChangeView(f, len(plan.Changes))
	var made []madeChange
	failed := f.client.Apply(ctx, plan, func(c federation.Change, err error) {
		if err == nil {
			made = append(made, madeChange{c, time.Now()})
		}
		view.done(c, err)
	})
	view.end()
	changes := []federation.Change{}
	for _, c := range made {
		changes = append(changes, c.Change)
	}
	err := f.Print(f.output, federationChanges{changes}, func() {
		f.done(made, len(plan.Changes), o.undo)
	})
	return made, errors.Join(refused(failed), err)
}

// done is the end of what changes print for people.
func (f *federationRun) done(made []madeChange, of int, undo string) {
	n := map[federation.Action]int{}
	for _, c := range made {
		n[c.Action]++
	}
	text := tally([]count{{n[federation.Add], "added"}, {n[federation.Update], "changed"}, {n[federation.Remove], "removed"}, {of - len(made), "not done"}})
	if of == 0 {
		text = "nothing to change"
	}
	f.Out.Printf("%s\n", text)
	if n[federation.Remove] > 0 && undo != "" {
		f.Out.Printf("to undo: %s\n", undo)
	}
}

// federationNeeds are what the plan's changes need.
func federationNeeds(plan federation.Plan) []permission.Need {
	var needs []permission.Need
	for _, c := range plan.Changes {
		need := permission.Need{Directory: permission.UpdateApplication, Application: c.Target().ApplicationID}
		if !c.Target().IsApplication() {
			need = permission.Need{Scope: c.Target().ManagedIdentity.String(), Action: arm.WriteCredential}
			if c.Action == federation.Remove {
				need.Action = arm.RemoveCredential
			}
		}
		if !slices.Contains(needs, need) {
			needs = append(needs, need)
		}
	}
	return needs
}

func newFederationDestroy(r *command.Env) *cobra.Command {
	var o applyOptions
	c := &cobra.Command{
		Use: "destroy -f FILE", Short: "Remove the credentials that the file names", Args: cobra.NoArgs,
		Long: `Remove the credentials that the file names, whoever made them.`,
		Example: `  azwi federation destroy -f federation.yaml --dry-run
  azwi federation destroy -f federation.yaml --yes`,
		RunE: func(c *cobra.Command, _ []string) error {
			f, err := withFile(c.Context(), r, o.federationOptions)
			if err != nil {
				return err
			}
			o.undo = "azwi federation apply -f " + o.file
			_, err = f.apply(c.Context(), federation.Removal(f.targets), &o)
			return err
		},
	}
	o.register(c)
	return c
}

func newFederationPrune(r *command.Env) *cobra.Command {
	var o applyOptions
	c := &cobra.Command{
		Use: "prune -f FILE", Short: "Remove azwi's credentials that are not in the file", Args: cobra.NoArgs,
		Example: `  azwi federation prune -f federation.yaml --dry-run
  azwi federation prune -f federation.yaml --yes`,
		RunE: func(c *cobra.Command, _ []string) error {
			f, err := withFile(c.Context(), r, o.federationOptions)
			if err != nil {
				return err
			}
			plan, err := f.file.Plan(f.targets, federation.PruneOnly)
			if err != nil {
				return err
			}
			o.undo = "add the clusters and service accounts to " + o.file + ", then run: azwi federation apply -f " + o.file
			_, err = f.apply(c.Context(), plan, &o)
			return err
		},
	}
	o.register(c)
	return c
}

// selection chooses identities for commands that need no file.
type selection struct {
	managed       []string
	applications  []string
	resourceGroup string
}

func (s *selection) register(c *cobra.Command) {
	c.Flags().StringSliceVar(&s.managed, "managed-identity", nil, "resource ID of a managed identity, or its name with --resource-group; may be repeated")
	c.Flags().StringSliceVar(&s.applications, "application", nil, "client ID or name of an application; may be repeated")
	c.Flags().StringVar(&s.resourceGroup, "resource-group", "", "resource group of managed identities (default all of the subscription)")
}

// selected reads the credentials of the chosen identities: the file's, the named
// ones, else all managed identities of the resource group or subscription.
func selected(ctx context.Context, r *command.Env, o federationOptions, s selection) (*federationRun, error) {
	if o.file != "" {
		if len(s.managed)+len(s.applications) > 0 || s.resourceGroup != "" {
			return nil, errors.New("give either --filename or identities, not both")
		}
		return withFile(ctx, r, o)
	}
	f, err := begin(ctx, r, o)
	if err != nil {
		return nil, err
	}
	targets, err := f.find(ctx, s)
	if err != nil {
		return nil, refused(err)
	}
	f.targets, err = f.client.Fill(ctx, targets)
	return f, refused(err)
}

func (f *federationRun) find(ctx context.Context, s selection) ([]federation.Target, error) {
	var targets []federation.Target
	add := func(id arm.IdentityID) {
		targets = append(targets, federation.Target{Identity: federation.Identity{Name: id.Name, ManagedIdentity: id}})
	}
	for _, text := range s.managed {
		if !strings.Contains(text, "/") {
			if s.resourceGroup == "" || f.session.Subscription == "" {
				return nil, fmt.Errorf("--managed-identity %s: give its resource ID, or --resource-group and --subscription-id as well", text)
			}
			add(arm.IdentityID{Subscription: f.session.Subscription, ResourceGroup: s.resourceGroup, Name: text})
			continue
		}
		id, err := arm.ParseIdentityID(text)
		if err != nil {
			return nil, fmt.Errorf("--managed-identity: %w", err)
		}
		add(id)
	}
	for _, text := range s.applications {
		application := federation.Application{Name: text}
		if guid.Valid(text) {
			application = federation.Application{ClientID: text}
		}
		target, err := f.client.Application(ctx, application)
		if err != nil {
			return nil, fmt.Errorf("--application: %w", err)
		}
		targets = append(targets, target)
	}
	if len(s.managed)+len(s.applications) > 0 {
		return targets, nil
	}
	if f.session.Subscription == "" {
		return nil, errors.New("name identities: --subscription-id for all its managed identities, --managed-identity, --application, or --filename")
	}
	all, err := f.session.ARM.Identities(ctx, f.session.Subscription, s.resourceGroup)
	for _, identity := range all {
		add(identity.ID)
	}
	return targets, err
}

// federationList is what list prints as JSON; docs/schema/federation-list.json is
// made from it.
type federationList struct {
	// Credentials are sorted by identity, issuer and subject.
	Credentials []listedCredential `json:"credentials"`
}

type listedCredential struct {
	// Identity is the name of the file's entry, or of the identity itself.
	Identity string `json:"identity"`
	// ID is the resource ID of a managed identity, or the object ID of an application.
	ID string `json:"id"`
	// Name of the credential.
	Name string `json:"name"`
	// Issuer of the tokens that it takes.
	Issuer string `json:"issuer"`
	// Subject is empty if an expression stands in its place.
	Subject string `json:"subject"`
	// Audience of the tokens that it takes.
	Audience string `json:"audience"`
	// Description is empty on managed identities.
	Description string `json:"description"`
	// Azwi tells whether its name or description shows that azwi made it.
	Azwi bool `json:"azwi"`
}

func newFederationList(r *command.Env) *cobra.Command {
	var o federationOptions
	var s selection
	c := &cobra.Command{
		Use: "list", Short: "List the federated credentials of identities", Args: cobra.NoArgs,
		Example: `  azwi federation list -f federation.yaml
  azwi federation list -s $SUBSCRIPTION --resource-group web -o json`,
		RunE: func(c *cobra.Command, _ []string) error {
			f, err := selected(c.Context(), r, o, s)
			if err != nil {
				return err
			}
			list := federationList{Credentials: []listedCredential{}}
			for _, t := range f.targets {
				for _, e := range t.Existing {
					list.Credentials = append(list.Credentials, listedCredential{
						Identity: t.Identity.Name, ID: t.Identity.ID(), Name: e.Name, Issuer: e.Issuer, Subject: e.Subject,
						Audience: e.Audience, Description: e.Description, Azwi: t.Identity.Ours(e),
					})
				}
			}
			return f.Print(o.output, list, func() {
				if len(list.Credentials) == 0 {
					f.Out.Printf("no federated credentials; identities looked at: %d\n", len(f.targets))
					return
				}
				f.Out.Table(func(row func(...string)) {
					row("IDENTITY", "SERVICE ACCOUNT", "CLUSTER", "AUDIENCE", "BY", "NAME")
					for _, l := range list.Credentials {
						by := "others"
						if l.Azwi {
							by = "azwi"
						}
						row(l.Identity, f.account(l.Subject), f.cluster(l.Issuer), l.Audience, by, l.Name)
					}
				})
			})
		},
	}
	o.register(c)
	s.register(c)
	return c
}

func newFederationImport(r *command.Env) *cobra.Command {
	var o federationOptions
	var s selection
	var names []string
	c := &cobra.Command{
		Use: "import", Short: "Write a federation file from the existing credentials", Args: cobra.NoArgs,
		Example: `  azwi federation import -s $SUBSCRIPTION > federation.yaml
  azwi federation import -s $SUBSCRIPTION --cluster blue=https://example.com/`,
		RunE: func(c *cobra.Command, _ []string) error {
			clusters := map[string]string{}
			for _, text := range names {
				name, issuer, ok := strings.Cut(text, "=")
				if !ok || name == "" || issuer == "" {
					return fmt.Errorf("--cluster %q: want NAME=ISSUER", text)
				}
				clusters[issuer] = name
			}
			f, err := selected(c.Context(), r, o, s)
			if err != nil {
				return err
			}
			text, err := federation.Import(f.targets, clusters, contract.DefaultAudience)
			if err != nil {
				return err
			}
			if _, err := federation.Read("import", text); err != nil {
				// Nothing to want, or a --cluster of a name that a file can't have.
				return fmt.Errorf("no file can be made of %d identities: %w", len(f.targets), err)
			}
			_, err = r.Data.Write(text)
			return err
		},
	}
	o.azure.Register(c)
	o.output = "text"
	s.register(c)
	c.Flags().StringArrayVar(&names, "cluster", nil, "NAME=ISSUER: name of a cluster in the file; may be repeated")
	return c
}

func newFederationMigrate(r *command.Env) *cobra.Command {
	var o applyOptions
	var s selection
	var m federation.Migration
	c := &cobra.Command{
		Use: "migrate-issuer --from ISSUER --to ISSUER", Short: "Move federated credentials from one issuer to another", Args: cobra.NoArgs,
		Example: `  azwi federation migrate-issuer -s $SUBSCRIPTION --dry-run \
    --from https://blue.example.com/ --to https://green.example.com/`,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := m.Check(); err != nil {
				return err
			}
			f, err := selected(c.Context(), r, o.federationOptions, s)
			if err != nil {
				return err
			}
			plan, err := m.Plan(f.targets)
			if err != nil {
				return err
			}
			for _, k := range plan.Kept {
				r.Log.Warn("a credential is left as it is", "identity", k.Identity, "name", k.Credential.Name, "reason", k.Reason.Text())
			}
			if m.DropOld {
				o.undo = fmt.Sprintf("azwi federation migrate-issuer with --from %s --to %s", m.To, m.From)
			}
			_, err = f.apply(c.Context(), plan, &o)
			return err
		},
	}
	o.register(c)
	s.register(c)
	c.Flags().StringVar(&m.From, "from", "", "issuer of the old cluster (required)")
	c.Flags().StringVar(&m.To, "to", "", "issuer of the new cluster (required)")
	c.Flags().BoolVar(&m.DropOld, "drop-old", false, "remove the credentials of the old issuer")
	for _, name := range []string{"from", "to"} {
		// An error is a flag of that name that is not there, which tests would find.
		_ = c.MarkFlagRequired(name)
	}
	return c
}
