package odata

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		filter string
		want   []Term
	}{
		{"", nil},
		{"appId eq '1'", []Term{{Equal, "appId", "1"}}},
		{"startswith(displayName,'a b') and appId eq 'it''s'", []Term{{StartsWith, "displayName", "a b"}, {Equal, "appId", "it's"}}},
		{"servicePrincipalNames/any(c:c eq 'x')", []Term{{Equal, "servicePrincipalNames", "x"}}},
		{"identifierUris/any(s:s eq 'api://x')", []Term{{Equal, "identifierUris", "api://x"}}},
		{"atScope() and assignedTo('me')", []Term{{Call, "atScope", ""}, {Call, "assignedTo", "me"}}},
		{"accountEnabled eq true", []Term{{Equal, "accountEnabled", "true"}}},
	}
	for _, tt := range tests {
		t.Run(tt.filter, func(t *testing.T) {
			t.Parallel()
			got, err := Parse(tt.filter)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	for _, filter := range []string{
		"appId", "appId eq", "appId eq 'x", "appId ne 'x'", "appId eq 'x' or b eq 'y'", "and", "a eq 'b' and", "startswith(a 'b')",
		"x/any(c:d eq 'y')", "not(a eq 'b')", "a eq 'b' c", strings.Repeat("x", maxFilter+1),
	} {
		if terms, err := Parse(filter); !errors.Is(err, ErrFilter) {
			t.Errorf("Parse(%.40q) = %v, %v", filter, terms, err)
		}
	}
}

// render writes a filter that has these terms.
func render(terms []Term) string {
	var parts []string
	for _, t := range terms {
		value := "'" + strings.ReplaceAll(t.Value, "'", "''") + "'"
		switch t.Op {
		case Equal:
			parts = append(parts, t.Field+" eq "+value)
		case StartsWith:
			parts = append(parts, "startswith("+t.Field+","+value+")")
		case Call:
			parts = append(parts, t.Field+"("+value+")")
		}
	}
	return strings.Join(parts, " and ")
}

// What Parse accepts means the same after it was written again, and equality
// with its own value always matches.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{"appId eq '1'", "startswith(a,'b') and c/any(x:x eq 'd')", "atScope()", "a eq 'it''s' and b eq true"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, filter string) {
		terms, err := Parse(filter)
		if err != nil {
			if !errors.Is(err, ErrFilter) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		again, err := Parse(render(terms))
		if err != nil {
			t.Fatalf("%q became %q: %v", filter, render(terms), err)
		}
		if diff := cmp.Diff(terms, again); diff != "" {
			t.Fatalf("%q became %q: %s", filter, render(terms), diff)
		}
		for _, term := range terms {
			if term.Op == Call {
				continue
			}
			if hit, err := Match([]Term{term}, func(string) ([]string, bool) { return []string{term.Value}, true }); err != nil || !hit {
				t.Fatalf("%+v does not match its own value", term)
			}
		}
	})
}
