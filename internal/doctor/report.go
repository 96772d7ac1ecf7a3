package doctor

import (
	"errors"
	"fmt"
	"slices"

	"azwi/internal/finding"
	"azwi/internal/kube"
)

// A State is how a link is.
type State string

// The states of a link.
const (
	// OK: it was looked at, and works.
	OK State = "ok"
	// Wrong: it breaks the chain.
	Wrong State = "wrong"
	// Unknown: it could not be looked at.
	Unknown State = "unknown"
	// NotReached: an earlier link has to work first.
	NotReached State = "not reached"
	// Skipped: the caller left it out.
	Skipped State = "skipped"
)

// A LinkName names a link of the chain; docs/doctor.md has a section on each.
type LinkName string

// The links, in the order of the chain.
const (
	LinkWorkload     LinkName = "workload"
	LinkInstallation LinkName = "installation"
	LinkInjection    LinkName = "injection"
	LinkAccount      LinkName = "service account"
	LinkToken        LinkName = "token"
	LinkIssuer       LinkName = "issuer"
	LinkIdentity     LinkName = "identity"
	LinkCredential   LinkName = "credential"
	LinkExchange     LinkName = "exchange"
	LinkRole         LinkName = "role"
	LinkProxy        LinkName = "proxy"
	LinkEvents       LinkName = "events"
)

// LinkNames are all links of a workload's chain, in their order.
func LinkNames() []LinkName {
	return []LinkName{
		LinkWorkload, LinkInstallation, LinkInjection, LinkAccount, LinkToken, LinkIssuer,
		LinkIdentity, LinkCredential, LinkExchange, LinkRole, LinkProxy, LinkEvents,
	}
}

// A Link is one step on the way from a pod to its token.
type Link struct {
	Name  LinkName `json:"link"`
	State State    `json:"state"`
	// Evidence is what was seen, a line each.
	Evidence []string `json:"evidence,omitempty"`
	// Findings are what is wrong, or may be.
	Findings []finding.Finding `json:"findings,omitempty"`
	// Denied: the caller lacks a right to look.
	Denied bool `json:"denied,omitempty"`
	// Failed: something else kept the caller from looking, such as an API server that does
	// not answer.
	Failed bool `json:"failed,omitempty"`
}

func (l *Link) see(format string, args ...any) {
	l.Evidence = append(l.Evidence, fmt.Sprintf(format, args...))
}

// because adds a finding, unless it is there. An error makes the link wrong.
func (l *Link) because(f finding.Finding) {
	if slices.ContainsFunc(l.Findings, f.Equal) {
		return
	}
	l.Findings = append(l.Findings, f)
	if f.Severity() == finding.Error {
		l.State = Wrong
	}
}

// unknown says what keeps the link from being looked at.
func (l *Link) unknown(why error) {
	if l.State == "" {
		l.State = Unknown
	}
	if denied(why) {
		l.Denied = true
	} else if !errors.As(why, new(errSkipped)) {
		l.Failed = true
	}
	l.see("%s", oneLine(why))
}

// orUnknown notes a lack of rights, and passes other errors on.
func (l *Link) orUnknown(err error) error {
	if !denied(err) {
		return err
	}
	l.unknown(err)
	return nil
}

// has reports whether one of the codes was found.
func (l *Link) has(codes ...finding.Code) bool {
	return slices.ContainsFunc(l.Findings, func(f finding.Finding) bool { return slices.Contains(codes, f.Code()) })
}

// A Report is what was seen of one subject.
type Report struct {
	Subject kube.Ref `json:"subject"`
	Links   []Link   `json:"links"`
}

// Link returns one of the links; nil if the chain has none of that name.
func (r *Report) Link(name LinkName) *Link {
	i := slices.IndexFunc(r.Links, func(l Link) bool { return l.Name == name })
	if i < 0 {
		return nil
	}
	return &r.Links[i]
}

// Findings are those of all links of at least a severity.
func (r *Report) Findings(least finding.Severity) []finding.Finding {
	var all []finding.Finding
	for _, l := range r.Links {
		for _, f := range l.Findings {
			if f.Severity() <= least {
				all = append(all, f)
			}
		}
	}
	return all
}

// Wrong reports whether a link breaks the chain.
func (r *Report) Wrong() bool {
	return slices.ContainsFunc(r.Links, func(l Link) bool { return l.State == Wrong })
}

// Denied reports whether the caller lacks a right, so that a link is unknown, and no
// exchange proves the whole chain.
func (r *Report) Denied() bool {
	return !r.proven() && slices.ContainsFunc(r.Links, func(l Link) bool { return l.Denied })
}

// Failed reports whether a link is unknown for another reason than rights or the caller's
// choice, and no exchange proves the whole chain.
func (r *Report) Failed() bool {
	return !r.proven() && slices.ContainsFunc(r.Links, func(l Link) bool { return l.Failed })
}

// proven: an exchange has worked.
func (r *Report) proven() bool {
	l := r.Link(LinkExchange)
	return l != nil && l.State == OK
}

// errSkipped is a look that the caller did not want, or that lacks a part.
type errSkipped string

func (e errSkipped) Error() string { return string(e) }
