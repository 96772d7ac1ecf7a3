package directory

import (
	"errors"
	"fmt"
	"strings"

	"azwi/emulator/internal/glob"
)

// ErrExpression is a claimsMatchingExpression that can't be understood.
var ErrExpression = errors.New("invalid claims matching expression")

// A term is claims['CLAIM'] eq|matches 'VALUE'.
type term struct {
	claim, value string
	matches      bool
}

// MatchExpression evaluates the expression of a flexible federated credential
// against the claims of an assertion: terms joined by and; matches knows * for
// any text and ? for one character.
//
// Source: "Flexible federated identity credentials", Microsoft Entra docs.
func MatchExpression(expression string, claims map[string]any) (bool, error) {
	terms, err := parseExpression(expression)
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

// CheckExpression reports what is wrong with an expression.
func CheckExpression(expression string) error {
	_, err := parseExpression(expression)
	return err
}

func parseExpression(s string) ([]term, error) {
	var terms []term
	for rest := strings.TrimSpace(s); ; {
		var t term
		var ok bool
		if rest, ok = strings.CutPrefix(rest, "claims["); !ok {
			return nil, fmt.Errorf("%w: claims['NAME'] expected at %q", ErrExpression, rest)
		}
		if t.claim, rest, ok = quoted(rest); !ok || !strings.HasPrefix(rest, "]") {
			return nil, fmt.Errorf("%w: the name of a claim is not in quotes and brackets", ErrExpression)
		}
		var operator string
		operator, rest, _ = strings.Cut(strings.TrimLeft(rest[1:], " "), " ")
		switch operator {
		case "eq":
		case "matches":
			t.matches = true
		default:
			return nil, fmt.Errorf("%w: operator %q is not eq or matches", ErrExpression, operator)
		}
		if t.value, rest, ok = quoted(strings.TrimLeft(rest, " ")); !ok {
			return nil, fmt.Errorf("%w: the value after %s is not in quotes", ErrExpression, operator)
		}
		terms = append(terms, t)
		if rest = strings.TrimSpace(rest); rest == "" {
			return terms, nil
		}
		if rest, ok = strings.CutPrefix(rest, "and "); !ok {
			return nil, fmt.Errorf("%w: and expected at %q", ErrExpression, rest)
		}
		rest = strings.TrimLeft(rest, " ")
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
