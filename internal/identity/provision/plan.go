package provision

import (
	"fmt"
	"unicode/utf8"

	"azwi/internal/azure/permission"
	"azwi/internal/finding"
	"azwi/internal/identity/federation"
)

// An Outcome is what a step did, or will do.
type Outcome string

// The outcomes of a step.
const (
	Created   Outcome = "created"
	Updated   Outcome = "updated"
	Unchanged Outcome = "unchanged"
	Deleted   Outcome = "deleted"
	Absent    Outcome = "absent"
)

// A Step is what a phase does to one object.
type Step struct {
	Phase Phase `json:"phase"`
	// What names the object.
	What    string  `json:"what"`
	Outcome Outcome `json:"outcome"`
	// ID is the object's ID in Azure.
	ID      string   `json:"id,omitempty"`
	Changes []Change `json:"changes,omitempty"`

	do action
}

// A Plan is what a run will do. It holds all that was read, so that a run reads
// nothing twice but what somebody else may have changed.
type Plan struct {
	Steps []Step
	// Needs are the rights in Azure that the run takes.
	Needs []permission.Need

	request Request
	seen    Seen
}

// Plan says what the request takes, given what there is. It asks nothing.
func (r Request) Plan(s Seen) Plan {
	p := Plan{request: r, seen: s, Needs: r.needs(s), Steps: []Step{}}
	for _, phase := range r.Phases {
		switch {
		case phase == PhaseIdentity && r.Remove && !r.removesIdentity():
		case phase == PhaseIdentity:
			p.add(r.identityStep(s))
			if !r.Remove && !s.Reference.IsManaged() {
				p.add(Step{Phase: phase, What: "its service principal", ID: s.PrincipalID, Outcome: outcome(s.PrincipalID != "", r.Remove), do: (*run).ensurePrincipal})
			}
		case phase == PhaseAccount:
			p.add(r.accountStep(s))
		case phase == PhaseCredential:
			p.add(r.credentialStep(s))
		case phase == PhaseRole:
			p.add(r.roleStep(s))
		}
	}
	return p
}

func (p *Plan) add(s Step) { p.Steps = append(p.Steps, s) }

// outcome is that of creating or deleting what exists or not.
func outcome(exists, remove bool) Outcome {
	switch {
	case remove && exists:
		return Deleted
	case remove:
		return Absent
	case exists:
		return Unchanged
	}
	return Created
}

func (r Request) identityStep(s Seen) Step {
	step := Step{
		Phase: PhaseIdentity, What: s.Reference.String(), ID: s.Identity.ObjectID + s.Identity.ResourceID,
		Outcome: outcome(s.Found, r.Remove), do: (*run).ensureIdentity,
	}
	if r.Remove {
		step.do = (*run).deleteIdentity
	} else if s.Identity.ClientID != "" {
		step.What += ", client ID " + s.Identity.ClientID
	}
	return step
}

func (r Request) accountStep(s Seen) Step {
	step := Step{Phase: PhaseAccount, What: r.Namespace + "/" + r.Account, Outcome: outcome(s.Account, true), do: (*run).deleteAccount}
	if !r.Remove {
		step.Changes, step.Outcome, step.do = s.Changes, accountOutcome(s.Account, s.Changes), (*run).ensureAccount
	}
	return step
}

// accountOutcome is that of ensuring a service account.
func accountOutcome(exists bool, changes []Change) Outcome {
	if exists && len(changes) > 0 {
		return Updated
	}
	return outcome(exists, false)
}

func (r Request) credentialStep(s Seen) Step {
	if r.Remove {
		step := Step{Phase: PhaseCredential, What: "credential for " + r.subject(), Outcome: Absent, do: (*run).deleteCredential}
		if s.Outcome != "" {
			step.Outcome, step.ID, step.What = Deleted, s.Credential.Name, credentialText(s.Credential)
		}
		return step
	}
	return Step{
		Phase: PhaseCredential, What: credentialText(s.Credential), ID: s.Credential.Name, Outcome: Outcome(s.Outcome), do: (*run).ensureCredential,
	}
}

func credentialText(c federation.Credential) string {
	return fmt.Sprintf("credential %s for %s", c.Name, c.Subject)
}

func (r Request) roleStep(s Seen) Step {
	step := Step{
		Phase: PhaseRole, What: fmt.Sprintf("%s at %s", r.Role, r.Scope), ID: s.RoleAssignment,
		Outcome: outcome(s.RoleAssignment != "", r.Remove), do: (*run).ensureRole,
	}
	if r.Assignment != "" {
		step.What = r.Assignment
	}
	if r.Remove {
		step.do = (*run).deleteRole
	}
	return step
}

// mayCreate is the error if an identity that does not exist shall not be made.
func (r Request) mayCreate(i Reference) error {
	switch {
	case i.IsManaged() && !r.CreateManaged:
		return finding.ManagedIdentityToCreate(i).Err(nil)
	case !i.IsManaged() && (i.ClientID != "" || i.ObjectID != ""):
		return finding.ApplicationToCreate(i).Err(nil)
	case !i.IsManaged() && utf8.RuneCountInString(i.Name) > MaxApplicationName:
		return finding.ApplicationNameTooLong(utf8.RuneCountInString(i.Name), MaxApplicationName).Err(nil)
	case !r.runs(PhaseIdentity):
		return finding.IdentityNotMade(i, string(PhaseIdentity)).Err(nil)
	}
	return nil
}
