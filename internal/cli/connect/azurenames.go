package connect

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"azwi/internal/cli/command"
)

// CompleteNames offers managed identities for --managed-identity and roles for
// --azure-role, where the command has these flags: what Azure answers within a second.
func (o *Azure) CompleteNames(r *command.Env, cmd *cobra.Command) {
	for name, list := range map[string]func(context.Context, *Session) []string{"managed-identity": identityNames, "azure-role": roleNames} {
		if cmd.Flags().Lookup(name) == nil {
			continue
		}
		// An error is a flag that is not there.
		_ = cmd.RegisterFlagCompletionFunc(name, func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			const soon = time.Second
			ctx, cancel := context.WithTimeout(cmd.Context(), soon)
			defer cancel()
			session, err := o.SignIn(ctx, r)
			if err != nil || session.Subscription == "" {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return plainNames(list(ctx, session)), cobra.ShellCompDirectiveNoFileComp
		})
	}
}

// identityNames are the resource IDs of the subscription's managed identities.
func identityNames(ctx context.Context, s *Session) []string {
	// Whoever may not list them types the name.
	identities, _ := s.ARM.Identities(ctx, s.Subscription, "")
	names := make([]string, len(identities))
	for i, identity := range identities {
		names[i] = identity.ID.String()
	}
	return names
}

// roleNames are the roles that can be assigned in the subscription.
func roleNames(ctx context.Context, s *Session) []string {
	names, _ := s.ARM.Roles(ctx, "/subscriptions/"+s.Subscription)
	return names
}
