package directory

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"azwi/emulator/internal/glob"
)

// ErrExpression is a claimsMatchingExpression that can't be understood, or that
// may not be used here.
var ErrExpression = errors.New("invalid claims matching expression")

// ErrIdentityExpression is a flexible credential on a managed identity.
var ErrIdentityExpression = fmt.Errorf("%w: a managed identity can't have one: use a subject, or an application", ErrExpression)

// A term is claims['CLAIM'] eq|matches 'VALUE'.
type term struct {
	claim, value string
	matches      bool
}

// MatchExpression evaluates the expression of a flexible federated credential for
// an issuer against the claims of an assertion: terms joined by and; matches knows
// * for any text and ? for one character.
//
// Source: "Flexible federated identity credentials", Microsoft Entra docs.
func MatchExpression(issuer, expression string, claims map[string]any) (bool, error) {
	terms, err := parseFlexible(issuer, expression)
	if err != nil {
		return false, err
	}
	for _, t := range terms {
		value, ok := claims[t.claim].(string)
		if !ok || (t.matches && !glob.Match(t.value, value)) || (!t.matches && t.value != value) {
			return false, nil
		}
	}
	return true, nil
}

// CheckExpression reports what is wrong with an expression for an issuer.
func CheckExpression(issuer, expression string) error {
	_, err := parseFlexible(issuer, expression)
	return err
}

// A flexibleIssuer is one that flexible credentials are for.
type flexibleIssuer struct {
	// patterns are the claims that may be compared by eq and matches, exact those
	// by eq alone.
	patterns, exact []string
	// oneOf are claims of which the expression has to name one at least, beside sub.
	oneOf []string
}

// flexible knows the issuers of GitHub, GitLab and Terraform Cloud, the only ones
// that Entra takes expressions for. A GitLab of one's own is gitlab.NAME.com or
// gitlab.NAME.ca.
func flexible(issuer string) (flexibleIssuer, bool) {
	switch issuer {
	case "https://token.actions.githubusercontent.com":
		ids := []string{"repository_id", "repository_owner_id"}
		return flexibleIssuer{patterns: []string{"sub", "job_workflow_ref"}, exact: ids, oneOf: ids}, true
	case "https://gitlab.com", "https://app.terraform.io", "https://app.eu.terraform.io":
		return flexibleIssuer{patterns: []string{"sub"}}, true
	}
	return flexibleIssuer{patterns: []string{"sub"}}, regexp.MustCompile(`^https://gitlab\.[A-Za-z0-9-]+\.(com|ca)$`).MatchString(issuer)
}

// parseFlexible parses an expression and checks that the issuer may have it.
func parseFlexible(issuer, expression string) ([]term, error) {
	rules, ok := flexible(issuer)
	if !ok {
		return nil, fmt.Errorf("%w: issuer %q is not GitHub, GitLab or Terraform Cloud: use a subject", ErrExpression, issuer)
	}
	terms, err := parseExpression(expression)
	if err != nil {
		return nil, err
	}
	for _, t := range terms {
		switch {
		case slices.Contains(rules.patterns, t.claim):
		case !slices.Contains(rules.exact, t.claim):
			return nil, fmt.Errorf("%w: claim %q of issuer %q can't be matched", ErrExpression, t.claim, issuer)
		case t.matches:
			return nil, fmt.Errorf("%w: claim %q is compared by eq only", ErrExpression, t.claim)
		}
	}
	names := func(claims ...string) bool {
		return slices.ContainsFunc(terms, func(t term) bool { return slices.Contains(claims, t.claim) })
	}
	switch {
	case !names("sub"):
		return nil, fmt.Errorf("%w: claims['sub'] is missing", ErrExpression)
	case len(rules.oneOf) > 0 && !names(rules.oneOf...):
		return nil, fmt.Errorf("%w: one of the claims %s is needed beside sub", ErrExpression, strings.Join(rules.oneOf, ", "))
	}
	return terms, nil
}

func parseExpression(s string) ([]term, error) {
	var terms []term
	for rest := s; ; {
		var t term
		var ok bool
		if rest, ok = strings.CutPrefix(rest, "claims["); !ok {
			return nil, fmt.Errorf("%w: claims['NAME'] expected at %q", ErrExpression, rest)
		}
		if t.claim, rest, ok = quoted(rest); !ok || !strings.HasPrefix(rest, "] ") {
			return nil, fmt.Errorf("%w: the name of a claim is not in quotes and brackets, with a space after them", ErrExpression)
		}
		var operator string
		operator, rest, _ = strings.Cut(rest[len("] "):], " ")
		switch operator {
		case "eq":
		case "matches":
			t.matches = true
		default:
			return nil, fmt.Errorf("%w: operator %q is not eq or matches", ErrExpression, operator)
		}
		if t.value, rest, ok = quoted(rest); !ok {
			return nil, fmt.Errorf("%w: the value is not in single quotes, one space after %s", ErrExpression, operator)
		}
		terms = append(terms, t)
		if rest == "" {
			return terms, nil
		}
		if rest, ok = strings.CutPrefix(rest, " and "); !ok {
			return nil, fmt.Errorf("%w: \" and \" expected at %q", ErrExpression, rest)
		}
	}
}

// quoted reads a string in single quotes, in which two quotes are one.
func quoted(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, "'") {
		return "", s, false
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != '\'' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		return b.String(), s[i+1:], b.Len() > 0
	}
	return "", s, false
}
