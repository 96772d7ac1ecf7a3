package finding_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"azwi/internal/finding"
)

const root = "../.."

// Each code of the source is in the catalogue once, and explained in the docs.
func TestCatalogueIsComplete(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("catalogue.go")
	if err != nil {
		t.Fatal(err)
	}
	codes := map[finding.Code]int{}
	for _, m := range regexp.MustCompile(`(?m)^\tCode\w+ +Code = "([a-z0-9-]+)"$`).FindAllStringSubmatch(string(source), -1) {
		codes[finding.Code(m[1])] = 0
	}
	if len(codes) < 40 {
		t.Fatalf("only %d codes found", len(codes))
	}
	for _, e := range finding.Catalogue() {
		if n, ok := codes[e.Code]; !ok || n > 0 {
			t.Errorf("%s: a constant: %t, entries before: %d", e.Code, ok, n)
		}
		codes[e.Code]++
		page, err := os.ReadFile(filepath.Join(root, "docs", e.Page))
		if err != nil {
			t.Error(err)
		}
		if !strings.Contains(string(page), "`"+string(e.Code)+"` ("+e.Severity.String()+")") {
			t.Errorf("docs/%s has no section about %s (%s)", e.Page, e.Code, e.Severity)
		}
		if e.Title == "" || strings.HasSuffix(e.Title, ".") || strings.Contains(e.Title, "\n") {
			t.Errorf("%s: title %q", e.Code, e.Title)
		}
	}
	for code, n := range codes {
		if n != 1 {
			t.Errorf("%s is %d times in the catalogue", code, n)
		}
	}
}

// Each constructor of a finding is called somewhere: what nobody finds is not needed.
func TestEveryFindingIsEmitted(t *testing.T) {
	t.Parallel()
	called := map[string]bool{}
	walk(t, root, func(name string, file *ast.File) {
		if filepath.Dir(name) == filepath.Join(root, "internal", "finding") {
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if of, ok := s.X.(*ast.Ident); ok && of.Name == "finding" {
					called[s.Sel.Name] = true
				}
			}
			return true
		})
	})
	constructors := 0
	walk(t, ".", func(_ string, file *ast.File) {
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !f.Name.IsExported() || f.Type.Results == nil || len(f.Type.Results.List) != 1 {
				continue
			}
			if result, ok := f.Type.Results.List[0].Type.(*ast.Ident); ok && result.Name == "Finding" {
				if constructors++; !called[f.Name.Name] {
					t.Errorf("nobody calls finding.%s", f.Name.Name)
				}
			}
		}
	})
	if constructors < 40 {
		t.Errorf("only %d constructors found", constructors)
	}
}

// walk parses the Go files below a folder, but for tests.
func walk(t *testing.T, below string, visit func(name string, file *ast.File)) {
	t.Helper()
	err := filepath.WalkDir(below, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := entry.Name()
		if entry.IsDir() {
			if name != below && (strings.HasPrefix(base, ".") || base == "test" || base == "testdata" || base == "dist") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(base, ".go") || strings.HasSuffix(base, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err == nil {
			visit(name, file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTexts(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 100) + "\u202e\n"
	for _, f := range []finding.Finding{
		finding.ProxyMode(long), finding.OtherAccount(long, long), finding.SkipUnknown(long), finding.OwnClientID(long, long),
		finding.MisplacedKey("label", long, "annotation"), finding.LabelMissing(long, ""), finding.TenantID(long), finding.IssuerTwice(long, long, "a:1:1"),
	} {
		if strings.ContainsAny(f.Text(), "\u202e\n") || strings.Contains(f.Text(), strings.Repeat("x", 65)) {
			t.Errorf("%s: a value is not quoted or cut: %q", f.Code(), f.Text())
		}
	}
}
