package permission

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"azwi/internal/azure"
	"azwi/internal/azure/arm"
	"azwi/internal/azure/graph"
	"azwi/internal/finding"
)

// A Checker asks what its caller may do. Every field is required.
type Checker struct {
	Graph *graph.Client
	ARM   *arm.Client
}

// A Verdict says whether something is allowed.
type Verdict string

// The verdicts. Allowed is no promise: deny assignments, Conditional Access and
// policies show themselves at the write only. Denied is proven. Unknown is what
// could not be found out.
const (
	Allowed Verdict = "allowed"
	Denied  Verdict = "denied"
	Unknown Verdict = "unknown"
)

// A Result is what was found out about a Need.
type Result struct {
	// What is the action of Resource Manager, or the write to the directory.
	What string `json:"what"`
	// Where is the scope or the application's object ID; empty for the whole
	// directory.
	Where   string  `json:"where,omitempty"`
	Verdict Verdict `json:"verdict"`
	// Code says what keeps the caller from it; empty if that is Allowed.
	Code finding.Code `json:"code,omitempty"`
	// Why is for people.
	Why string `json:"why,omitempty"`
	// GrantedBy names roles that would allow it, the smallest first.
	GrantedBy []string `json:"grantedBy,omitempty"`
}

// because is a result other than Allowed.
func (r *Result) because(v Verdict, f finding.Finding) {
	r.Verdict, r.Code, r.Why = v, f.Code(), f.Text()
}

// A Report is what was found out.
type Report struct {
	// Caller is nil if no Need is about the directory.
	Caller  *Caller  `json:"caller,omitempty"`
	Results []Result `json:"results"`
}

// Of lists the results with a verdict.
func (r Report) Of(v Verdict) []Result {
	return slices.DeleteFunc(slices.Clone(r.Results), func(x Result) bool { return x.Verdict != v })
}

// Check finds out about the needs, each once. It writes nothing. The error is
// that of signing in.
func (c *Checker) Check(ctx context.Context, needs []Need) (Report, error) {
	var report Report
	directory := directoryCheck{Checker: c}
	permissions := map[string]scopePermissions{}
	for i, need := range needs {
		switch {
		case slices.Contains(needs[:i], need):
		case need.Directory != "":
			result, err := directory.check(ctx, need)
			if err != nil {
				return Report{}, err
			}
			report.Caller = directory.caller
			report.Results = append(report.Results, result)
		default:
			p, known := permissions[strings.ToLower(need.Scope)]
			if !known {
				p.all, p.err = c.ARM.Permissions(ctx, need.Scope)
				if azure.Refused(p.err).SignIn {
					return Report{}, p.err
				}
				permissions[strings.ToLower(need.Scope)] = p
			}
			report.Results = append(report.Results, p.check(need))
		}
	}
	return report, nil
}

type scopePermissions struct {
	all arm.Permissions
	err error
}

func (p scopePermissions) check(need Need) Result {
	r := Result{What: need.Action, Where: need.Scope, Verdict: Allowed}
	switch {
	case p.err != nil:
		r.because(Unknown, finding.PermissionsUnreadable(azure.Brief(p.err)))
	case !p.all.Allow(need.Action):
		r.because(Denied, finding.ActionNotGranted())
		r.GrantedBy = GrantedBy(need.Action)
	}
	return r
}

// A directoryCheck asks the directory about one caller.
type directoryCheck struct {
	*Checker
	caller *Caller
	// incomplete is why the caller's roles may not be all.
	incomplete error
}

// who reads the caller once.
func (c *directoryCheck) who(ctx context.Context) error {
	if c.caller != nil {
		return nil
	}
	token, err := c.Graph.Token(ctx)
	if err != nil {
		return fmt.Errorf("sign in to Graph: %w", err)
	}
	caller, err := readCaller(token)
	if err != nil {
		c.caller, c.incomplete = &Caller{}, err
		return nil
	}
	if caller.Kind == kindUser {
		// A token may lack roles that came by groups.
		roles, err := c.Graph.DirectoryRoles(ctx)
		c.incomplete = err
		for _, r := range roles {
			if !slices.Contains(caller.DirectoryRoles, r) {
				caller.DirectoryRoles = append(caller.DirectoryRoles, r)
			}
		}
	}
	c.caller = &caller
	return nil
}

func (c *directoryCheck) check(ctx context.Context, need Need) (Result, error) {
	if err := c.who(ctx); err != nil {
		return Result{}, err
	}
	others := need.Directory != CreateApplication
	r := Result{What: string(need.Directory), Where: need.Application, Verdict: Allowed}
	if r.Why = c.holds(others); r.Why != "" {
		return r, nil
	}
	var err error
	var allowed bool
	switch {
	case c.caller.ObjectID == "":
		err = c.incomplete
	case others && need.Application == "":
		err = errors.New("the caller may not read applications")
	case others:
		allowed, err = c.owns(ctx, need.Application)
		r.Why = "the caller owns the application"
	case c.caller.Kind == kindUser:
		allowed, err = c.Graph.UsersCreateApplications(ctx)
		r.Why = "every user of the tenant may (authorization policy)"
	}
	if err == nil {
		err = c.incomplete
	}
	strange := slices.DeleteFunc(slices.Clone(c.caller.DirectoryRoles), powerless)
	switch {
	case allowed:
		return r, nil
	case err != nil:
		r.because(Unknown, finding.DirectoryUnreadable(azure.Brief(err)))
	case slices.ContainsFunc(strange, func(id string) bool { return !knownRole(id) }):
		r.because(Unknown, finding.DirectoryRoleUnknown())
	case others:
		r.because(Denied, finding.ApplicationNotWritable())
	default:
		r.because(Denied, finding.ApplicationNotCreatable())
	}
	r.GrantedBy = c.roles(others)
	return r, nil
}

func knownRole(template string) bool {
	return slices.ContainsFunc(directoryRoles(), func(d directoryRole) bool { return d.template == template })
}

// holds names the role by which the caller may write applications, those of
// others included or not.
func (c *directoryCheck) holds(others bool) string {
	for _, role := range directoryRoles() {
		if (role.others || !others) && slices.Contains(c.caller.DirectoryRoles, role.template) {
			return "the caller is " + role.name
		}
	}
	for _, role := range appRoles(others) {
		if slices.Contains(c.caller.AppRoles, role) {
			return "the caller has the application permission " + role
		}
	}
	return ""
}

func (c *directoryCheck) owns(ctx context.Context, application string) (bool, error) {
	owners, err := c.Graph.Owners(ctx, application)
	return slices.ContainsFunc(owners, func(id string) bool { return strings.EqualFold(id, c.caller.ObjectID) }), err
}

// roles names what would help this kind of caller, the smallest first.
func (c *directoryCheck) roles(others bool) []string {
	var names []string
	for _, role := range slices.Backward(directoryRoles()) {
		if role.others || !others {
			names = append(names, role.name)
		}
	}
	if others {
		names = append([]string{"owner of the application"}, names...)
	}
	if c.caller.Kind == kindServicePrincipal {
		// The smallest of those that are enough.
		names = append(names, "Graph application permission "+map[bool]string{true: "Application.ReadWrite.All", false: "Application.ReadWrite.OwnedBy"}[others])
	}
	return names
}
