package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"azwi/internal/azure/permission"
	"azwi/internal/identity/provision"
)

func (s *azureSession) steps() provision.Azure {
	return provision.Azure{Graph: s.graph, ARM: s.arm}
}

func (s *azureSession) checker() *permission.Checker {
	return &permission.Checker{Credential: s.credential, GraphAudience: s.graphAudience, Graph: s.graph, ARM: s.arm}
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
	return exit(ExitNotPermitted, errors.Join(missing...))
}
