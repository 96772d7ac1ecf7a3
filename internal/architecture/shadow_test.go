package architecture

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A deferred closure that reads a variable with the name of a result, where the
// result itself is shadowed, does not see what the function returns. Vet's shadow
// analyzer reports hundreds of harmless cases beside this one.
func TestNoDeferredClosureReadsAShadowedResult(t *testing.T) {
	t.Parallel()
	packages := map[string][]string{} // by folder
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{".git", ".cache", ".cluster", ".emulator", "bin", "dist", "node_modules", "testdata"}, entry.Name()):
			return filepath.SkipDir
		case strings.HasSuffix(file, ".go"):
			packages[filepath.Dir(file)] = append(packages[filepath.Dir(file)], file)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) < 60 {
		t.Errorf("only %d folders read", len(packages))
	}
	for _, dir := range slices.Sorted(maps.Keys(packages)) {
		for _, found := range shadowedResults(t, packages[dir], nil) {
			t.Errorf("%s; give the inner variable another name", found)
		}
	}
}

func TestShadowedResultsAreSeen(t *testing.T) {
	t.Parallel()
	// How it was found: a failed switch of engines was not undone.
	got := shadowedResults(t, []string{"testdata/switch.go"}, nil)
	if diff := cmp.Diff([]string{"testdata/switch.go:17:7: a deferred closure uses err, which is not the result err of the function but declared at line 12"}, got); diff != "" {
		t.Error(diff)
	}
	const source = `package p
import "example.com/unknown"
func loop() (err error) {
	for _, c := range unknown.All() {
		n, err := c.Close()
		defer func() { unknown.Log(n, err) }()
	}
	return nil
}
func named() (err error) {
	if err := unknown.F(); err != nil {
		undo := func() { err = unknown.Join(err, unknown.Undo()) }
		defer undo()
	}
	return nil
}
var literal = func() (ok bool) {
	{
		ok := true
		defer unknown.Later(func() { println(ok) })
	}
	return
}
func right() (err error) {
	for {
		_, inner := unknown.F()
		defer func(err error) { println(err, inner) }(inner)
	}
	defer func() {
		println(err)
		err := unknown.F()
		println(err)
	}()
	return
}
func without() error {
	err := unknown.F()
	defer func() { println(err) }()
	return err
}
func inner() (err error) {
	func() {
		err := unknown.F()
		defer func() { println(err) }() // of a function without results
	}()
	return
}
`
	var lines []string
	for _, found := range shadowedResults(t, []string{"p.go"}, source) {
		lines = append(lines, strings.Split(found, " a ")[0])
	}
	if diff := cmp.Diff([]string{"p.go:6:33:", "p.go:12:20:", "p.go:12:39:", "p.go:20:40:"}, lines); diff != "" {
		t.Error(diff)
	}
}

// shadowedResults looks through the files of one folder. Imports are not resolved:
// for local variables their own package suffices.
func shadowedResults(t *testing.T, names []string, source any) []string {
	t.Helper()
	set := token.NewFileSet()
	files := map[string][]*ast.File{} // by package
	for _, name := range names {
		file, err := parser.ParseFile(set, name, source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files[file.Name.Name] = append(files[file.Name.Name], file)
	}
	var found []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		s := shadows{set: set, info: types.Info{Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{}}}
		config := types.Config{Importer: noImports{}, Error: func(error) {}, FakeImportC: true}
		// Of all errors, what is imported is missing.
		_, _ = config.Check(name, set, files[name], &s.info)
		for _, file := range files[name] {
			ast.Inspect(file, s.function)
		}
		found = append(found, s.found...)
	}
	return found
}

type noImports struct{}

func (noImports) Import(string) (*types.Package, error) { return nil, errors.New("not imported") }

type shadows struct {
	set   *token.FileSet
	info  types.Info
	found []string
}

// function looks at a function with named results.
func (s *shadows) function(n ast.Node) bool {
	var signature *ast.FuncType
	var body *ast.BlockStmt
	switch n := n.(type) {
	case *ast.FuncDecl:
		signature, body = n.Type, n.Body
	case *ast.FuncLit:
		signature, body = n.Type, n.Body
	}
	if body == nil || signature.Results == nil {
		return true
	}
	results := map[string]types.Object{}
	for _, field := range signature.Results.List {
		for _, name := range field.Names {
			results[name.Name] = s.info.Defs[name]
		}
	}
	closures := map[types.Object]*ast.FuncLit{} // by the variable that has it
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				name, _ := left.(*ast.Ident)
				if closure, ok := n.Rhs[min(i, len(n.Rhs)-1)].(*ast.FuncLit); ok && name != nil {
					closures[s.info.Defs[name]] = closure
				}
			}
		case *ast.FuncLit:
			return false // it has its own results
		case *ast.DeferStmt:
			for _, e := range append([]ast.Expr{n.Call.Fun}, n.Call.Args...) {
				closure, _ := e.(*ast.FuncLit)
				if name, ok := e.(*ast.Ident); ok {
					closure = closures[s.info.Uses[name]]
				}
				if closure != nil {
					s.closure(closure, body, results)
				}
			}
			return false
		}
		return true
	})
	return true
}

// closure looks at a deferred one in a function's body.
func (s *shadows) closure(closure *ast.FuncLit, body *ast.BlockStmt, results map[string]types.Object) {
	ast.Inspect(closure, func(n ast.Node) bool {
		name, ok := n.(*ast.Ident)
		if !ok {
			return true
		}
		used, result := s.info.Uses[name], results[name.Name]
		if _, variable := used.(*types.Var); !variable || result == nil || used == result {
			return true
		}
		at := used.Pos()
		if at < body.Pos() || at >= body.End() || at >= closure.Pos() && at < closure.End() {
			return true // a field, of the package, or of the closure itself
		}
		s.found = append(s.found, fmt.Sprintf("%s: a deferred closure uses %s, which is not the result %s of the function but declared at line %d",
			s.set.Position(name.Pos()), name.Name, name.Name, s.set.Position(at).Line))
		return true
	})
}
