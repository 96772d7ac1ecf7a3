package federation

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"azwi/internal/finding"
	"azwi/internal/spelling"
)

// A Migration gives every credential of one issuer a twin of another issuer, as a
// second cluster that takes over from the first needs it.
type Migration struct {
	// From and To are issuers, byte for byte.
	From, To string
	// DropOld removes the credentials of From instead, once their twins are there.
	DropOld bool
}

// Check finds mistakes in the issuers.
func (m Migration) Check() error {
	if m.From == m.To {
		return errors.New("--from and --to are the same issuer")
	}
	if problem := IssuerProblem(m.To); problem != "" {
		return fmt.Errorf("--to: %s", problem)
	}
	return nil
}

// Plan looks at what there is. Nothing is planned for any identity if one of
// them can't hold the twins, or lacks one that DropOld needs.
func (m Migration) Plan(targets []Target) (Plan, error) {
	var plan Plan
	var problems []error
	old, moved, near, issuers := 0, 0, map[string]int{}, map[string]bool{}
	for _, t := range targets {
		adding := 0
		for _, c := range t.Existing {
			issuers[c.Issuer] = true
			switch {
			case c.Issuer != m.From:
				if c.Issuer == m.To {
					moved++
				}
				if strings.EqualFold(strings.TrimSuffix(c.Issuer, "/"), strings.TrimSuffix(m.From, "/")) {
					near[c.Issuer]++
				}
				continue
			case c.Subject == "":
				plan.Kept = append(plan.Kept, Kept{t.Identity.Name, c, finding.CredentialWithExpression()})
				continue
			}
			old++
			twin, ok := m.twin(t, c)
			switch {
			case m.DropOld && (!ok || twin.Audience != c.Audience):
				problems = append(problems, finding.OfIdentity(t.Identity, finding.NewIssuerMissing(c.Subject)).Err(nil))
			case m.DropOld:
				plan.Changes = append(plan.Changes, change(Remove, t.Identity.Name, t.Identity, c, c))
			case !ok:
				adding++
				plan.Changes = append(plan.Changes, change(Add, t.Identity.Name, t.Identity, Credential{}, twin))
			case twin.Audience != c.Audience:
				after := twin
				after.Audience = c.Audience
				plan.Changes = append(plan.Changes, change(Update, t.Identity.Name, t.Identity, twin, after))
			}
		}
		if len(t.Existing)+adding > MaxCredentials {
			problems = append(problems, &LimitError{Identity: t.Identity, Have: len(t.Existing), Adding: adding})
		}
	}
	switch {
	case old == 0 && len(near) == 0 && moved == 0 && len(plan.Kept) == 0:
		// Else everything has moved already.
		problems = append(problems, finding.IssuerNotFound(m.From, m.To, spelling.Suggest(m.From, slices.Sorted(maps.Keys(issuers)))).Err(nil))
	case old == 0:
		for _, issuer := range slices.Sorted(maps.Keys(near)) {
			problems = append(problems, finding.IssuerSpelledOtherwise(m.From, issuer, near[issuer]).Err(nil))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return Plan{}, err
	}
	return plan, nil
}

// twin is the credential of the new issuer, and whether it is there.
func (m Migration) twin(t Target, c Credential) (twin Credential, ok bool) {
	taken := map[string]bool{}
	for _, other := range t.Existing {
		if other.Issuer == m.To && other.Subject == c.Subject {
			return other, true
		}
		taken[other.Name] = true
	}
	hash := sha256.Sum256([]byte(c.Subject + "-" + m.To))
	twin = Credential{Name: hex.EncodeToString(hash[:]), Issuer: m.To, Subject: c.Subject, Audience: c.Audience, Description: c.Description}
	if namespace, account, ok := ParseSubject(c.Subject); ok {
		twin.Name = t.Identity.Credential(namespace, account, m.To, c.Audience, "").Name
	}
	// A name of ours with other content was changed by hand; it stays.
	for base, n := twin.Name, 2; taken[twin.Name]; n++ {
		twin.Name = base + "-" + strconv.Itoa(n)
	}
	return twin, false
}
