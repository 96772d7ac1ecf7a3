package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"azwi/internal/inject"
)

func TestDocuments(t *testing.T) {
	t.Parallel()
	type document struct {
		Line int
		Text string
	}
	for _, test := range []struct {
		name, text string
		want       []document
	}{
		{"empty", "", nil},
		{"one", "a: b\n", []document{{1, "a: b\n"}}},
		{"three, one of them empty", "a: b\n---\n--- # c\nd: e", []document{{1, "a: b\n"}, {2, "---\n"}, {3, "--- # c\nd: e"}}},
		{"Windows", "a: b\r\n---\r\nc: d\r\n", []document{{1, "a: b\r\n"}, {2, "---\r\nc: d\r\n"}}},
		{"no separator", "a: |\n  ---\n  x\nb: ---c\n", []document{{1, "a: |\n  ---\n  x\nb: ---c\n"}}},
		{"directive and end", "%YAML 1.1\n---\na: b\n...\n---\nc: d\n", []document{{1, "%YAML 1.1\n---\na: b\n...\n"}, {5, "---\nc: d\n"}}},
		{"JSON after JSON", "{\"a\":1}\n\n {\"b\":\n2}\n", []document{{1, "{\"a\":1}"}, {1, "\n\n {\"b\":\n2}\n"}}},
		{"flow", "{a: b}\n---\n{c: d}\n", []document{{1, "{a: b}\n"}, {2, "---\n{c: d}\n"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var got []document
			for _, d := range Parse("x", []byte(test.text)).Documents {
				if d.Err != nil {
					t.Error(d.Err)
				}
				got = append(got, document{d.Line, string(d.Text)})
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Values are what the API server would see, at the place where they are written.
func TestValues(t *testing.T) {
	t.Parallel()
	const text = `# first
---
base: &base
  on: yes
  shared: 1
list:
- *base
- <<: *base
  shared: 2
  shared: 3
`
	const object = "{\n\t\"a\": [1,\n {\"b\": \"c\"}]}"
	for _, test := range []struct {
		name, text string
		path       func(Value) Value
		want       any
		at         string
	}{
		{"a boolean of YAML 1.1", text, func(v Value) Value { return v.Get("base") }, map[string]any{"true": true, "shared": number("1")}, "x:3:7"},
		{"an alias", text, func(v Value) Value { return v.Get("list").Items()[0].Get("shared") }, number("1"), "x:5:11"},
		{"the last of two", text, func(v Value) Value { return v.Get("list").Items()[1].Get("shared") }, number("3"), "x:10:11"},
		{"JSON", object, func(v Value) Value { return v.Get("a").Items()[1].Get("b") }, "c", "x:3:8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			documents := Parse("x", []byte(test.text)).Documents
			root, ok := documents[len(documents)-1].Root()
			if !ok {
				t.Fatal(documents[len(documents)-1].Err)
			}
			got := test.path(root)
			if diff := cmp.Diff(test.want, got.JSON()); diff != "" || got.Position().String() != test.at {
				t.Errorf("at %s: %s", got.Position(), diff)
			}
		})
	}
	documents := Parse("x", []byte(text)).Documents
	root, _ := documents[1].Root()
	var again []bool
	for _, m := range root.Get("list").Items()[1].Members() {
		if m.Key == "shared" {
			again = append(again, m.Again)
		}
	}
	if diff := cmp.Diff([]bool{false, false, true}, again); diff != "" {
		t.Error(diff)
	}
}

func number(s string) any {
	v, err := decode([]byte(s))
	if err != nil {
		return err
	}
	return v
}

// Patches keep what they do not touch.
func TestPatch(t *testing.T) {
	t.Parallel()
	add := func(path string, value any) inject.Op { return inject.Op{Op: "add", Path: path, Value: value} }
	for _, test := range []struct {
		name, text string
		ops        []inject.Op
		want       string
	}{
		{"a new member", "a:\n    b: c # d\n# e\n", []inject.Op{add("/a/f", "g")}, "a:\n    b: c # d\n    f: g\n# e\n"},
		{"no end of line", "a:\n- b", []inject.Op{add("/a/-", "c")}, "a:\n- b\n- c\n"},
		{"Windows", "a:\r\n  - b\r\n", []inject.Op{add("/a/-", "c"), add("/d", true)}, "a:\r\n  - b\r\n  - c\r\nd: true\r\n"},
		{"before the first", "a:\n# of b\n- b\n", []inject.Op{add("/a/0", 1), add("/a/1", 2), add("/a/-", 3)}, "a:\n- 1\n- 2\n# of b\n- b\n- 3\n"},
		{"an item below its dash", "a:\n-\n  b: c\n-\n  d: e\n", []inject.Op{add("/a/0/f", "yes"), add("/a/-", 1)}, "a:\n-\n  b: c\n  f: \"yes\"\n-\n  d: e\n- 1\n"},
		{"in place of another", "a:\n- b: c\n  d: e\n- f # g\n", []inject.Op{{Op: "replace", Path: "/a/0", Value: map[string]any{"h": "i"}}}, "a:\n- h: i\n- f # g\n"},
		{"in place of null", "a:\n  b: null\n  c: d\n", []inject.Op{add("/a/b", []string{"e"})}, "a:\n  b:\n  - e\n  c: d\n"},
		{"flow", "---\n# f\na: {b: [c]} # d\n", []inject.Op{add("/a/b/-", "e")}, "---\n# f\na: {b: [c, e]} # d\n"},
		{"a quoted scalar at the margin", "a:\n  b: \"x\n\ny\"\n  c: d\n", []inject.Op{add("/a/e", "f")}, "a:\n  b: \"x\n\ny\"\n  c: d\n  e: f\n"},
		{"two lines of JSON", "{\"a\":[]}\n", []inject.Op{add("/a", []int{1})}, "{\"a\":[1]}\n"},
		{"JSON", "{\n \"z\": 1.0,\n \"a\": []\n}\n\n", []inject.Op{add("/a/-", "<&>")}, "{\n \"z\": 1.0,\n \"a\": [\n  \"<&>\"\n ]\n}\n\n"},
		{"kept blanks", "a:\n  b: |+\n    x\n\n\nc: d\n", []inject.Op{add("/a/e", "f")}, "a:\n  b: |+\n    x\n\n\n  e: f\nc: d\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := Parse("x", []byte(test.text)).Documents[0].Patch(test.ops)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Aliases of aliases of aliases are refused, not written out.
func TestBombs(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	text.WriteString("a0: &a0 [x]\n")
	for i := range 30 {
		fmt.Fprintf(&text, "a%d: &a%[1]d [*a%d, *a%[2]d]\n", i+1, i)
	}
	d := Parse("bomb", []byte(text.String())).Documents[0]
	if _, err := d.Patch([]inject.Op{{Op: "add", Path: "/b", Value: 1}}); d.Err == nil && err == nil {
		t.Error("a document that doubles thirty times was written out")
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"b.yaml", "a.JSON", "no.txt", "sub/c.yml", "empty/x.md"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	names := func(files []*File) []string {
		var got []string
		for _, f := range files {
			got = append(got, strings.TrimPrefix(f.Name, dir+"/"))
		}
		return got
	}
	for _, test := range []struct {
		args      []string
		recursive bool
		want      []string
	}{
		{[]string{dir}, false, []string{"a.JSON", "b.yaml"}},
		{[]string{dir}, true, []string{"a.JSON", "b.yaml", "sub/c.yml"}},
		{[]string{"-", filepath.Join(dir, "no.txt")}, false, []string{Stdin, "no.txt"}},
	} {
		files, err := Read(strings.NewReader("a: b"), test.args, test.recursive)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, names(files)); diff != "" {
			t.Error(diff)
		}
	}
	for _, args := range [][]string{{"-", "-"}, {filepath.Join(dir, "missing")}, {filepath.Join(dir, "empty")}} {
		if _, err := Read(strings.NewReader(""), args, false); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}

func TestSyntaxErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, want string }{
		{"a: b\n---\nb:\n\tc: d\n", "x:4:1: found"},
		{"a: {{ .Values.b }}\n", "helm template"},
		{"{\"a\": [}", "x:1:1"},
		{"a: *b\n", "x:1:1: unknown anchor"},
	} {
		var syntax *SyntaxError
		for _, d := range Parse("x", []byte(test.text)).Documents {
			if d.Err != nil && !errors.As(d.Err, &syntax) {
				t.Errorf("%T", d.Err)
			}
		}
		if syntax == nil || !strings.Contains(syntax.Error(), test.want) {
			t.Errorf("%q: %v, want %q", test.text, syntax, test.want)
		}
	}
}

// FuzzParse: the documents are the text, and nothing panics, whatever is asked.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"a: b\n---\nc: [d, {e: f}]\n", "{\"a\":[1,null]} {\"b\":2}", "a: &a\n  <<: *a\n", "- - a\n  - b\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var whole []byte
		for _, d := range Parse("x", text).Documents {
			whole = append(whole, d.Text...)
			if root, ok := d.Root(); ok {
				root.Walk(func(v Value) { _ = v.Position(); _ = v.KeyPosition(); _ = v.Source() })
				d.Objects()
				_, _ = d.Patch([]inject.Op{{Op: "add", Path: "/spec", Value: []string{"x"}}})
			}
		}
		if !bytes.Equal(whole, text) {
			t.Fatalf("%q became %q", text, whole)
		}
	})
}
