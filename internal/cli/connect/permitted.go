package connect

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"azwi/internal/azure/permission"
	"azwi/internal/cli/command"
	"azwi/internal/identity/provision"
)

// Steps does what provisioning needs in Azure.
func (s *Session) Steps() provision.Azure {
	return provision.Azure{Graph: s.graph, ARM: s.ARM}
}

// Checker tells what the caller may do.
func (s *Session) Checker() *permission.Checker {
	return &permission.Checker{Graph: s.graph, ARM: s.ARM}
}

// CheckPermissions tells beforehand what would be refused: a proven no is an
// error with ExitNotPermitted; what can't be found out is a warning.
func CheckPermissions(ctx context.Context, r *command.Env, session *Session, needs []permission.Need) error {
	report, err := session.Checker().Check(ctx, needs)
	if err != nil {
		return err
	}
	for _, result := range report.Results {
		r.Log.Debug("permission", "verdict", result.Verdict, "what", result.What, "where", result.Where, "why", result.Why)
	}
	return Permitted(r, report)
}

// Permitted warns of what is not known and fails on what is refused.
func Permitted(r *command.Env, report permission.Report) error {
	for _, result := range report.Of(permission.Unknown) {
		r.Log.Warn("could not check whether this is permitted; continuing", "what", result.What, "where", result.Where, "why", result.Why)
	}
	var missing []error
	for _, result := range report.Of(permission.Denied) {
		text := "not permitted: " + result.What
		if result.Where != "" {
			text += " at " + result.Where
		}
		missing = append(missing, fmt.Errorf("%s: %s; ask for one of: %s", text, result.Why, strings.Join(result.GrantedBy, ", ")))
	}
	if len(missing) == 0 {
		return nil
	}
	return command.Exit(command.ExitNotPermitted, errors.Join(missing...))
}
