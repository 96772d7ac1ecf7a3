package cli

import (
	"context"

	"github.com/spf13/cobra"

	"azwi/internal/permission"
)

func newPermissionsCommand(_ *root) *cobra.Command {
	return &cobra.Command{Use: "permissions", Short: "Tell what the signed-in caller may do", Hidden: true}
}

// checkPermissions tells beforehand what would be refused: a proven no is an
// error with ExitNotPermitted; what can't be found out is a warning.
func (r *root) checkPermissions(_ context.Context, _ *azureSession, _ []permission.Need) error {
	return nil
}
