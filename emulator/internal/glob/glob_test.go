package glob

import (
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"**", "ab", true}, {"?", "", false}, {"a?c", "abc", true}, {"a*c", "ac", true},
		{"a*c", "acb", false}, {"a*a", "a", false}, {"*/token", "/tenant/oauth2/v2.0/token", true}, {"*b*c", "abcbc", true}, {"A", "a", false},
	} {
		if got := Match(tt.pattern, tt.s); got != tt.want {
			t.Errorf("%q matches %q: %v", tt.pattern, tt.s, got)
		}
	}
	if !MatchFold("Microsoft.*/READ", "microsoft.keyvault/vaults/read") {
		t.Error("MatchFold minds the case")
	}
}

// A pattern without wildcards matches itself only, and one around a text matches
// it.
func FuzzMatch(f *testing.F) {
	f.Add("abc", "b")
	f.Add("a*b?c", "axxbyc")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if !strings.ContainsAny(pattern, "*?") && Match(pattern, s) != (pattern == s) {
			t.Fatalf("%q matches %q: %v", pattern, s, Match(pattern, s))
		}
		if !Match("*"+pattern+"*", "x"+pattern+"y") {
			t.Fatalf("*%q* does not match around itself", pattern)
		}
		if !Match("*", s) {
			t.Fatalf("* does not match %q", s)
		}
	})
}
