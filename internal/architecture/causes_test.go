package architecture

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	catalogue "azwi/internal/finding"
)

// What failed, why, and what to do about it stands in internal/finding. No test can know
// such a sentence when it sees one; this one knows AADSTS numbers, and the words that the
// sentences had which once stood elsewhere.
func TestOnlyFindingExplains(t *testing.T) {
	t.Parallel()
	files := 0
	for _, p := range list(t, root) {
		if regexp.MustCompile(`^(internal/finding|internal/architecture|emulator(/.*)?|cmd/azwi-emulator)$`).MatchString(p.moduleRelative) {
			continue
		}
		for _, name := range slices.Concat(p.GoFiles, p.IgnoredGoFiles) {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			files++
			for _, found := range causes(t, filepath.Join(p.Dir, name), nil) {
				t.Errorf("%s: %s: make it a finding of internal/finding", found.position, found.what)
			}
		}
	}
	if files < 100 {
		t.Errorf("only %d files checked", files)
	}
}

func TestCausesAreSeen(t *testing.T) {
	t.Parallel()
	const source = `package p
// AADSTS50166 in a comment, and because.
const code, port = 700016, 8000
var (
	a = "AADSTS70021: nothing"
	b = "grant get on secrets"
	c = "service account x has no annotation y"
	d = "see azwi explain AADSTS70021"
	e = "AADSTS%d"
)
`
	var got []string
	for _, found := range causes(t, "p.go", source) {
		got = append(got, found.position.String()+" "+found.what)
	}
	want := []string{"p.go:3:20 700016", "p.go:5:6 AADSTS7", "p.go:6:6 grant get", "p.go:7:6 has no annotation"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func causes(t *testing.T, name string, source any) []finding {
	t.Helper()
	numbers := map[string]bool{}
	for _, row := range catalogue.AADSTSCodes() {
		for _, code := range row.Codes {
			numbers[strconv.Itoa(code)] = true
		}
	}
	words := regexp.MustCompile(strings.Join([]string{
		`AADSTS[0-9]`, `\bgrant (get|list|watch|patch|create)`, `has no annotation`, `add the label`, `the label .* has no effect`,
		`try again`, `: (create it|correct (it|its|the))\b`, `in this tenant`, `ask (the|its|an|your) .*administrator`, `run az login`,
		`can't be reached`, `is not installed in`, `would receive the credentials`, `there is no (such (application|managed|subscription)|role named|application named)`, `left as it is: `,
	}, "|"))
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var found []finding
	ast.Inspect(file, func(n ast.Node) bool {
		literal, ok := n.(*ast.BasicLit)
		if !ok {
			return true
		}
		text := literal.Value
		switch {
		case literal.Kind == token.INT && numbers[text]:
		case literal.Kind == token.STRING && !strings.Contains(text, "azwi explain AADSTS"):
			if text = words.FindString(text); text == "" {
				return true
			}
		default:
			return true
		}
		found = append(found, finding{set.Position(n.Pos()), text})
		return true
	})
	return found
}
