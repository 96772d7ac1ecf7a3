package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"azwi/internal/azure"
	"azwi/internal/azure/permission"
	"azwi/internal/identity/provision"
)

func newPermissionsCommand(r *root) *cobra.Command {
	cmd := &cobra.Command{Use: "permissions", Short: "Show what the signed-in caller is allowed to do", Args: cobra.NoArgs}
	cmd.AddCommand(newPermissionsCheck(r))
	return cmd
}

// permissionOptions are the flags of azwi permissions check.
type permissionOptions struct {
	azure    azureOptions
	identity identityOptions
	scope    string
	remove   bool
	output   string
}

func newPermissionsCheck(r *root) *cobra.Command {
	var o permissionOptions
	cmd := &cobra.Command{
		Use: "check", Short: "Check what creating or deleting an identity will need", Args: cobra.NoArgs,
		Long: `Check, without writing anything, whether the signed-in caller may do what
azwi serviceaccount and azwi federation do: create applications or write one; create or
write managed identities and their federated credentials; assign roles.

  azwi permissions check                                           create an application
  azwi permissions check --aad-application-name shop               write that application
  azwi permissions check --managed-identity shop --resource-group web
  azwi permissions check --azure-scope /subscriptions/ID           assign roles there

What is missing is named, with the roles that grant it. "allowed" is no promise: deny
assignments and Conditional Access show themselves at the write only.

Exit code: 0 nothing is known to be refused, 3 something will be refused, 1 failure.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return r.runPermissionsCheck(cmd.Context(), o) },
	}
	o.azure.register(cmd)
	o.identity.register(cmd)
	cmd.Flags().StringVar(&o.scope, "azure-scope", "", "scope at which roles are to be assigned")
	cmd.Flags().BoolVar(&o.remove, "delete", false, "check what deleting needs instead of creating")
	outputFlag(cmd, &o.output)
	return cmd
}

func (r *root) runPermissionsCheck(ctx context.Context, o permissionOptions) error {
	session, err := o.azure.signIn(ctx, r.getenv)
	if err != nil {
		return err
	}
	var needs []permission.Need
	if o.identity.given() || o.scope == "" {
		reference, err := o.identity.reference(session)
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
	report, err := session.checker().Check(ctx, needs)
	if err != nil {
		return err
	}
	if err := r.print(o.output, report, func() { r.printPermissions(report) }); err != nil {
		return err
	}
	return r.permitted(report)
}

// identityNeeds are those of creating the identity if it does not exist, else of
// writing its credentials; or of deleting all.
func identityNeeds(ctx context.Context, session *azureSession, reference provision.Reference, remove bool) ([]permission.Need, error) {
	identity, found := provision.Identity{}, false
	if reference != (provision.Reference{}) {
		var err error
		identity, found, err = session.steps().Find(ctx, reference)
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

func (s *azureSession) steps() provision.Azure {
	return provision.Azure{Graph: s.graph, ARM: s.arm}
}

func (s *azureSession) checker() *permission.Checker {
	return &permission.Checker{Graph: s.graph, ARM: s.arm}
}

func (r *root) printPermissions(report permission.Report) {
	if c := report.Caller; c != nil && c.ObjectID != "" {
		r.Out.Printf("caller: %s %s in tenant %s\n", c.Kind, c.ObjectID, c.TenantID)
	}
	r.Out.Table(func(row func(...string)) {
		for _, result := range report.Results {
			row(string(result.Verdict), result.What, cmp.Or(result.Where, "-"), result.Why)
		}
	})
}

// checkPermissions tells beforehand what would be refused: a proven no is an
// error with ExitNotPermitted; what can't be found out is a warning.
func (r *root) checkPermissions(ctx context.Context, session *azureSession, needs []permission.Need) error {
	report, err := session.checker().Check(ctx, needs)
	if err != nil {
		return err
	}
	for _, result := range report.Results {
		r.log.Debug("permission", "verdict", result.Verdict, "what", result.What, "where", result.Where, "why", result.Why)
	}
	return r.permitted(report)
}

// permitted warns of what is not known and fails on what is refused.
func (r *root) permitted(report permission.Report) error {
	for _, result := range report.Of(permission.Unknown) {
		r.log.Warn("it is not known whether this is permitted; going on", "what", result.What, "where", result.Where, "why", result.Why)
	}
	var missing []error
	for _, result := range report.Of(permission.Denied) {
		text := "not permitted: " + result.What
		if result.Where != "" {
			text += " at " + result.Where
		}
		missing = append(missing, fmt.Errorf("%s: %s; granted by: %s", text, result.Why, strings.Join(result.GrantedBy, ", ")))
	}
	if len(missing) == 0 {
		return nil
	}
	return &exitError{ExitNotPermitted, errors.Join(missing...)}
}
