package architecture

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	root   = "../.."
	module = "azwi"
)

// A rule keeps some packages from needing others.
type rule struct {
	name string
	// whose and except choose the packages, by what follows the module's path.
	whose, except string
	// never matches the import paths that they may not have.
	never string
	// direct looks at a package's own imports only, not at what those import.
	direct bool
}

func rules() []rule {
	const (
		anyOurs          = `^` + module + `/`
		anyKubernetes    = `^(k8s\.io|sigs\.k8s\.io)/`
		kubernetesClient = `^(k8s\.io/(client-go|kubectl|kubernetes|apiserver)|sigs\.k8s\.io/controller-runtime)(/|$)`
	)
	return []rule{
		{name: "nothing imports a command", whose: `.`, never: anyOurs + `cmd/`, direct: true},
		{name: "the contract is a leaf", whose: `^contract$`, never: anyOurs},
		{
			name: "production code never imports the emulator", whose: `.`, except: `^(emulator(/.*)?|cmd/azwi-emulator)$`,
			never: anyOurs + `emulator(/|$)`,
		},
		{name: "the emulator works without Kubernetes", whose: `^(emulator(/.*)?|cmd/azwi-emulator)$`, never: anyKubernetes},
		{
			name:  "packages on the pod's and the token's way have no Kubernetes client",
			whose: `^internal/(pod|token)(/.*)?$`, never: kubernetesClient,
		},
		{
			name: "packages on the pod's and the token's way have no Azure client", whose: `^internal/(pod|token)(/.*)?$`,
			never: `^github\.com/Azure/|` + anyOurs + `internal/azure(/|$)`,
		},
		{
			name: "one neighbourhood knows Azure's SDK", whose: `.`, except: `^internal/azure(/.*)?$`,
			never: `^github\.com/Azure/azure-sdk-for-go/`, direct: true,
		},
		{name: "the proxy links no Kubernetes module", whose: `^cmd/azwi-proxy$`, never: anyKubernetes},
		{
			name: "one package knows controller-runtime", whose: `.`, except: `^(internal/admission/webhook|cmd/azwi-webhook)$`,
			never: `^sigs\.k8s\.io/controller-runtime(/|$)`,
		},
	}
}

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath, Name, Dir, Doc        string
	Imports, Deps                     []string
	GoFiles, CgoFiles, IgnoredGoFiles []string
	Error                             *struct{ Err string }

	moduleRelative string // its import path without the module's
}

func TestImports(t *testing.T) {
	t.Parallel()
	packages := list(t, root)
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			checked, broken := r.check(packages)
			for _, b := range broken {
				t.Error(b)
			}
			if len(checked) == 0 {
				t.Logf("not in force yet: there is no package %s", r.whose)
			} else {
				t.Logf("%d packages checked: %s", len(checked), strings.Join(checked, " "))
			}
		})
	}
}

// The rules can fail.
func TestRulesSeeViolations(t *testing.T) {
	t.Parallel()
	packages := []pkg{
		{moduleRelative: "internal/pod/inject", Deps: []string{"fmt", "k8s.io/client-go/rest"}},
		{moduleRelative: "internal/pod/inject/sub", Deps: []string{"k8s.io/apimachinery/pkg/types"}},
		{moduleRelative: "internal/pod/injector", Deps: []string{"k8s.io/client-go/rest"}},
	}
	r := rule{name: "r", whose: `^internal/pod/inject(/.*)?$`, never: `^k8s\.io/client-go(/|$)`}
	checked, broken := r.check(packages)
	if diff := cmp.Diff([]string{"internal/pod/inject", "internal/pod/inject/sub"}, checked); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"internal/pod/inject needs k8s.io/client-go/rest"}, broken); diff != "" {
		t.Error(diff)
	}
	// Each of the real rules forbids something to somebody.
	for _, r := range rules() {
		if r.whose == "" || r.never == "" {
			t.Errorf("rule %q is empty", r.name)
		}
	}
}

// check returns the packages that the rule speaks of and how they break it.
func (r rule) check(packages []pkg) (checked, broken []string) {
	whose, never := regexp.MustCompile(r.whose), regexp.MustCompile(r.never)
	for _, p := range packages {
		if !whose.MatchString(p.moduleRelative) || r.except != "" && regexp.MustCompile(r.except).MatchString(p.moduleRelative) {
			continue
		}
		checked = append(checked, p.moduleRelative)
		needs := p.Deps
		if r.direct {
			needs = p.Imports
		}
		for _, need := range needs {
			if never.MatchString(need) {
				broken = append(broken, p.moduleRelative+" needs "+need)
			}
		}
	}
	return checked, broken
}

func TestPackagesAreNounsAndDescribed(t *testing.T) {
	t.Parallel()
	for _, p := range allPackages(t) {
		if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "types", "misc", "shared", "base"}, path.Base(p.ImportPath)) {
			t.Errorf("%s: its name does not say what it owns", p.ImportPath)
		}
		if len(p.GoFiles) == 0 {
			continue // tests only
		}
		if p.Name == "main" {
			if !strings.HasPrefix(p.Doc, "Command "+path.Base(p.ImportPath)+" ") {
				t.Errorf(`%s: its comment does not begin with "Command %s"`, p.ImportPath, path.Base(p.ImportPath))
			}
			continue
		}
		if !strings.HasPrefix(p.Doc, "Package "+p.Name+" ") {
			t.Errorf(`%s: its comment does not begin with "Package %s"`, p.ImportPath, p.Name)
		}
		if !slices.Contains(p.GoFiles, "doc.go") {
			t.Errorf("%s: no doc.go", p.ImportPath)
		}
	}
}

// What a package does when it is merely imported, or ends a program on its own,
// nobody can test or catch.
func TestNoInitAndNoPanic(t *testing.T) {
	t.Parallel()
	files := 0
	for _, p := range allPackages(t) {
		for _, name := range slices.Concat(p.GoFiles, p.CgoFiles, p.IgnoredGoFiles) {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			files++
			for _, found := range initsAndPanics(t, filepath.Join(p.Dir, name), nil) {
				if found.what == "panic" && p.Name == "main" {
					continue
				}
				t.Errorf("%s: %s", found.position, found.what)
			}
		}
	}
	t.Logf("%d files checked", files)
}

func TestInitsAndPanicsAreSeen(t *testing.T) {
	t.Parallel()
	const source = `package p
func init() {}
type T struct{}
func (T) init() {}
func f() { panic("no") }
var g = func() { panic(1) }
`
	var got []string
	for _, found := range initsAndPanics(t, "p.go", source) {
		got = append(got, found.position.String()+" "+found.what)
	}
	if diff := cmp.Diff([]string{"p.go:2:1 init", "p.go:5:12 panic", "p.go:6:18 panic"}, got); diff != "" {
		t.Error(diff)
	}
}

type finding struct {
	position token.Position
	what     string
}

func initsAndPanics(t *testing.T, name string, source any) []finding {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var found []finding
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Recv == nil && n.Name.Name == "init" {
				found = append(found, finding{set.Position(n.Pos()), "init"})
			}
		case *ast.CallExpr:
			if function, ok := n.Fun.(*ast.Ident); ok && function.Name == "panic" {
				found = append(found, finding{set.Position(n.Pos()), "panic"})
			}
		}
		return true
	})
	return found
}

// What people read on a terminal goes through internal/terminal, which escapes what
// others wrote. Its Writer is no io.Writer; this finds the ways around it.
func TestOnlyTerminalWritesForPeople(t *testing.T) {
	t.Parallel()
	files := 0
	for _, p := range list(t, root) {
		if p.moduleRelative != "internal/cli" && !strings.HasPrefix(p.moduleRelative, "internal/cli/") {
			continue
		}
		for _, name := range slices.Concat(p.GoFiles, p.IgnoredGoFiles) {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			files++
			for _, found := range unescaped(t, filepath.Join(p.Dir, name), nil) {
				t.Errorf("%s: %s", found.position, found.what)
			}
		}
	}
	if files == 0 {
		t.Error("no file checked")
	}
}

func TestUnescapedTextIsSeen(t *testing.T) {
	t.Parallel()
	const source = `package cli
func f() {
	fmt.Fprintln(r.streams.Out, text)
	fmt.Fprintf(r.data, text)
	fmt.Println(text)
	io.WriteString(os.Stderr, text)
	fmt.Fprint(c.OutOrStdout(), text)
	json.NewEncoder(r.data)
	r.Out.Printf(text)
	r.Out.Printf("%s", text)
	r.Err.Overwrite("a" + text)
}
`
	var got []string
	for _, found := range unescaped(t, "p.go", source) {
		got = append(got, found.position.String()+" "+found.what)
	}
	want := []string{
		"p.go:3:15 r.streams.Out", "p.go:5:2 fmt.Println", "p.go:6:17 os.Stderr", "p.go:7:13 c.OutOrStdout",
		"p.go:9:2 Printf without a literal format", "p.go:11:2 Overwrite without a literal format",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// unescaped finds uses of standard output and error other than as data (a field of
// that name), as the streams of a child, and by a terminal.Writer with a literal
// format. The streams are made in root.go and given to children in exec.go.
func unescaped(t *testing.T, name string, source any) []finding {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var found []finding
	see := func(n ast.Node, what string) { found = append(found, finding{set.Position(n.Pos()), what}) }
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.SelectorExpr); ok && (f.Sel.Name == "Printf" || f.Sel.Name == "Overwrite") && len(n.Args) > 0 {
				if _, literal := n.Args[0].(*ast.BasicLit); !literal {
					see(n, f.Sel.Name+" without a literal format")
				}
			}
		case *ast.SelectorExpr:
			switch name := n.Sel.Name; {
			case isName(n.X, "fmt") && (name == "Print" || name == "Printf" || name == "Println"):
				see(n, "fmt."+name)
			case isName(n.X, "os") && (name == "Stdout" || name == "Stderr"):
				see(n, "os."+name)
			case name == "OutOrStdout" || name == "ErrOrStderr" || name == "OutOrStderr":
				see(n, "c."+name)
			case name == "Out" || name == "Err":
				streams, ok := n.X.(*ast.SelectorExpr)
				if base := filepath.Base(set.Position(n.Pos()).Filename); ok && streams.Sel.Name == "streams" && base != "root.go" && base != "exec.go" {
					see(n, "r.streams."+name)
				}
			}
		}
		return true
	})
	return found
}

func isName(e ast.Expr, name string) bool {
	ident, ok := e.(*ast.Ident)
	return ok && ident.Name == name
}

// Modules and packages are named by their names: where they come from is the
// machine's settings, and no file depends on where the repository lies.
func TestFilesNameNoRegistryAndNoMachine(t *testing.T) {
	t.Parallel()
	// In pieces, as this file is looked at too.
	foreign := regexp.MustCompile(strings.Join([]string{
		`proxy\.` + `golang\.org`, `sum\.` + `golang\.org`, `registry\.` + `npmjs\.org`, `deb\.` + `debian\.org`,
		`/work/` + `(main|shared)`, `/root/` + `go`,
	}, "|"))
	const maxSize = 4 << 20
	read := 0
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && slices.Contains([]string{".git", ".cache", ".cluster", ".emulator", ".playground", "bin", "dist", "node_modules"}, entry.Name()) {
			return filepath.SkipDir
		}
		if entry.Name() == ".git" {
			return nil // of a linked work tree: it tells where the repository is
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) || err == nil && (!info.Mode().IsRegular() || info.Size() > maxSize) {
			return nil
		}
		if err != nil {
			return err
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		read++
		for number, line := range strings.Split(string(content), "\n") {
			if match := foreign.FindString(line); match != "" {
				t.Errorf("%s:%d: %s", file, number+1, match)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if read < 10 {
		t.Errorf("only %d files read", read)
	}
}

// allPackages returns the packages of the product and of the module test.
func allPackages(t *testing.T) []pkg {
	t.Helper()
	return append(list(t, root), list(t, filepath.Join(root, "test"))...)
}

// list returns the packages of the module in the folder.
func list(t *testing.T, dir string) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e",
		"-json=ImportPath,Name,Dir,Doc,Imports,Deps,GoFiles,CgoFiles,IgnoredGoFiles,Error", "./...")
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list in %s: %v", dir, err)
	}
	var packages []pkg
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if p.Error != nil {
			t.Errorf("%s: %s", p.ImportPath, p.Error.Err)
		}
		p.moduleRelative = strings.TrimPrefix(p.ImportPath, module+"/")
		packages = append(packages, p)
	}
	if len(packages) == 0 {
		t.Fatalf("go list in %s names no package", dir)
	}
	return packages
}
