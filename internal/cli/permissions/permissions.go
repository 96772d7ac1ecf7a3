package permissions

import (
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"azwi/internal/azure"
	"azwi/internal/azure/arm"
	"azwi/internal/azure/permission"
	"azwi/internal/cli/command"
	"azwi/internal/cli/connect"
	"azwi/internal/identity/provision"
	"azwi/internal/terminal"
)

// New makes the command.
func New(r *command.Env) *cobra.Command {
	cmd := &cobra.Command{Use: "permissions", Short: "Show what the signed-in caller is allowed to do", Args: cobra.NoArgs, Annotations: map[string]string{command.Docs: "docs/rights.md"}}
	cmd.AddCommand(newPermissionsCheck(r))
	return cmd
}

// permissionOptions are the flags of azwi permissions check.
type permissionOptions struct {
	azure    connect.Azure
	identity connect.Identity
	scope    string
	remove   bool
	output   string
}

func newPermissionsCheck(r *command.Env) *cobra.Command {
	var o permissionOptions
	cmd := &cobra.Command{
		Use: "check", Short: "Check what creating or deleting an identity will need", Args: cobra.NoArgs,
		Long: `Check what creating or deleting an identity will need. Nothing is written.

Exit code: 0 nothing is known to be refused, 3 something is, 1 failure.`,
		Example: `  azwi permissions check
  azwi permissions check --managed-identity shop --resource-group web
  azwi permissions check --azure-scope /subscriptions/ID`,
		RunE: func(cmd *cobra.Command, _ []string) error { return runPermissionsCheck(cmd.Context(), r, o) },
	}
	o.azure.Register(cmd)
	o.identity.Register(cmd)
	cmd.Flags().StringVar(&o.scope, "azure-scope", "", "scope at which roles are to be assigned")
	cmd.Flags().BoolVar(&o.remove, "delete", false, "check what deleting needs instead of creating")
	o.azure.CompleteNames(r, cmd)
	command.OutputFlag(cmd, &o.output)
	return cmd
}

func runPermissionsCheck(ctx context.Context, r *command.Env, o permissionOptions) error {
	session, err := o.azure.SignIn(ctx, r)
	if err != nil {
		return err
	}
	var needs []permission.Need
	if o.identity.Given() || o.scope == "" {
		reference, err := o.identity.Reference(session)
		if err != nil {
			return err
		}
		if needs, err = identityNeeds(ctx, session, reference, o.remove); err != nil {
			return err
		}
	}
	if o.scope != "" {
		needs = append(needs, provision.RoleNeeds(o.scope, o.remove)...)
	}
	report, err := session.Checker().Check(ctx, needs)
	if err != nil {
		return err
	}
	if err := r.Print(o.output, report, func() { printPermissions(r, session, report) }); err != nil {
		return err
	}
	return connect.Permitted(r, report)
}

// identityNeeds are those of creating the identity if it does not exist, else of
// writing its credentials; or of deleting all.
func identityNeeds(ctx context.Context, session *connect.Session, reference provision.Reference, remove bool) ([]permission.Need, error) {
	identity, found := provision.Identity{}, false
	if reference != (provision.Reference{}) {
		var err error
		identity, found, err = session.Steps().Find(ctx, reference)
		if azure.Forbidden(err) {
			// What may not be read may exist; the check says the rest.
			identity, found, err = provision.Identity{ObjectID: reference.ObjectID}, true, nil
		}
		if err != nil {
			return nil, err
		}
	}
	switch {
	case !remove:
		return provision.Needs(reference, identity, found), nil
	case !found:
		return nil, fmt.Errorf("there is no %s", reference)
	}
	return provision.DeletionNeeds(reference, identity, true), nil
}

func printPermissions(r *command.Env, session *connect.Session, report permission.Report) {
	if c := report.Caller; c != nil && c.ObjectID != "" {
		r.Out.Printf("caller: %s %s in tenant %s\n", c.Kind, c.ObjectID, c.TenantID)
	} else {
		r.Out.Printf("caller: %s in tenant %s\n", session.Caller, cmp.Or(session.Tenant, "unknown"))
	}
	colours := map[permission.Verdict]terminal.Colour{permission.Allowed: terminal.Good, permission.Denied: terminal.Bad, permission.Unknown: terminal.Changed}
	r.Out.Rows(func(row func(terminal.Colour, ...string)) {
		for _, result := range report.Results {
			row(colours[result.Verdict], string(result.Verdict), result.What, cmp.Or(arm.ShortScope(result.Where), "-"), result.Why)
		}
	})
}
