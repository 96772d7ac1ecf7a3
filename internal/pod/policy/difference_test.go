package policy

import (
	"strings"
	"testing"
)

func TestDifferentCEL(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"a && b", "a\n  &&\n\tb", true},
		{"a && b // why\n", "// why\n\n  // not\na&&b", true},
		{"a && b", "a && c", false},
		{"a && b", "a && b && c", false},
		{"ab", "a b", false},
		{"a in b", "a inb", false},
		{`"a b"`, `"a  b"`, false},
		{`"a // b"`, `"a // c"`, false},
		{`"it's"`, `'it\'s'`, true},
		{`"a\tb"`, "\"a\\u0009b\"", true},
		{`"é"`, `"\u00e9"`, true},
		{`r"\d"`, `"\\d"`, true},
		{`r"\d"`, `"\d"`, true}, // the latter is no CEL
		{`b"a"`, `"a"`, false},
		{`"""a"b"""`, `'a"b'`, true},
		{`'''a
b'''`, `"a\nb"`, true},
		{`"a"`, `a`, false},
		{`"a" + "b"`, `"a + b"`, false},
		{`"open`, `"open`, true},
		{`"`, `""`, true}, // the former is no CEL
		{``, ` `, true},
		{``, `a`, false},
	} {
		if _, _, same := differentCEL(tt.a, tt.b); same != tt.same {
			t.Errorf("%q and %q: same is %t", tt.a, tt.b, same)
		}
		if _, _, same := differentCEL(tt.b, tt.a); same != tt.same {
			t.Errorf("%q and %q: same is %t", tt.b, tt.a, same)
		}
	}
}

// What differs is shown, however far behind the beginning it is.
func TestDifferencesAreShown(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("aaaa &&\n  ", 50)
	for _, tt := range []struct {
		name       string
		want, have any
		lines      []string
	}{
		{"layout", map[string]any{"expression": "a && b"}, map[string]any{"expression": "a &&\n b"}, nil},
		{"layout of a text", map[string]any{"message": "a b"}, map[string]any{"message": "a  b"}, []string{`spec.message is "a  b", generated is "a b"`}},
		{
			"far behind", map[string]any{"messageExpression": long + `"one" && b`}, map[string]any{"messageExpression": long + `"two" && b`},
			[]string{`\"two\" && b", generated is "...`},
		},
		{
			"a text", map[string]any{"name": strings.Repeat("é", 200) + "one"}, map[string]any{"name": strings.Repeat("é", 200) + "two"},
			[]string{"two"},
		},
		{
			"a list", map[string]any{"variables": []any{long, "one"}}, map[string]any{"variables": []any{long, "one", "two"}},
			[]string{`,"two"]`},
		},
	} {
		var lines []string
		Compare("spec", tt.want, tt.have, func(path, what string) { lines = append(lines, path+" "+what) })
		if len(lines) != len(tt.lines) {
			t.Errorf("%s: %q", tt.name, lines)
			continue
		}
		for i, line := range lines {
			if !strings.Contains(line, tt.lines[i]) || strings.Contains(line, "one") != (tt.name != "layout of a text") {
				t.Errorf("%s: %s", tt.name, line)
			}
			if len(line) > 300 {
				t.Errorf("%s: %d bytes", tt.name, len(line))
			}
		}
	}
}
