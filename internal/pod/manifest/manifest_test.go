package manifest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"azwi/internal/pod/inject"
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
		{"a: b\n---\nb:\n\tc: d\n", "x:4:1: not valid YAML or JSON: found"},
		{"a: {{ .Values.b }}\n", "helm template"},
		{"{\"a\": [}", "x:1:1"},
		{"a: *b\n", "x:1:1: not valid YAML or JSON: unknown anchor"},
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

// Whatever the encoding, all documents are read, and marks are none of their text.
func TestEncodings(t *testing.T) {
	t.Parallel()
	const text = "a: 1\n---\nb: \"\u00e4\U0001F600\"\n"
	wide := func(order binary.AppendByteOrder, s string) (out string) {
		for _, unit := range utf16.Encode([]rune(s)) {
			out += string(order.AppendUint16(nil, unit))
		}
		return out
	}
	for _, test := range []struct{ name, text, want, err string }{
		{"UTF-8", text, text, ""},
		{"mark", "\ufeff" + text, text, ""},
		{"mark before JSON", "\ufeff{\"a\":1}", "{\"a\":1}", ""},
		{"mark before a later marker", "a: 1\n\ufeff---\nb: \"\u00e4\U0001F600\"\n", text, ""},
		{"mark after a marker", "a: 1\r\n---\r\n\ufeffb: 1\r\n", "a: 1\r\n---\r\nb: 1\r\n", ""},
		{"marks", "\ufeff\ufeffa: 1\n\ufeff\ufeff---\n", "a: 1\n---\n", ""},
		{"mark within a line", "a: \"\ufeffb\"\n", "a: \"\ufeffb\"\n", ""},
		{"UTF-16, little endian, mark", wide(binary.LittleEndian, "\ufeff"+text), text, ""},
		{"UTF-16, big endian, mark", wide(binary.BigEndian, "\ufeff"+text), text, ""},
		{"UTF-16, little endian", wide(binary.LittleEndian, text), text, ""},
		{"UTF-16, big endian", wide(binary.BigEndian, text), text, ""},
		{"UTF-16, concatenated", wide(binary.LittleEndian, "\ufeffa: 1\n\ufeff---\nb: 1\n"), "a: 1\n---\nb: 1\n", ""},
		{"UTF-16, cut", wide(binary.LittleEndian, "\ufeff"+text)[:9], "a: 1"[:3], "isn't valid UTF-16"},
		{"UTF-16, half a character", wide(binary.BigEndian, "\ufeffa: ") + "\xd8\x3d\x00a", "a: \ufffda", "isn't valid UTF-16"},
		{"UTF-32", "\xff\xfe\x00\x00a\x00\x00\x00", "\x00a\x00", "control characters"},
		{"UTF-16 after UTF-8", "a: 1\n---\n" + wide(binary.LittleEndian, "b: 1\n"), "", "control characters"},
		{"Latin-1", "a: \xe4\n", "a: \xe4\n", "UTF-8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var got, message string
			for _, d := range Parse("x", []byte(test.text)).Documents {
				got += string(d.Text)
				if d.Err != nil {
					message = d.Err.Error()
				}
			}
			if test.want != "" && got != test.want || !strings.Contains(message, test.err) || test.err == "" && message != "" {
				t.Errorf("%q, %s; want %q, %s", got, message, test.want, test.err)
			}
		})
	}
}

// Items of a list take kind and apiVersion from it, as kubectl reads them.
func TestObjects(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, want string }{
		{"{apiVersion: v1, kind: Pod}", "v1 Pod"},
		{"{apiVersion: apps/v1, kind: DeploymentList, items: [{metadata: {name: a}}, {apiVersion: v1, kind: Pod}]}", "apps/v1 Deployment a /items/0;v1 Pod /items/1"},
		{"{apiVersion: apps/v1, kind: DeploymentList, items: [{apiVersion: apps/v1beta1}, {kind: Job}]}", "apps/v1beta1 /items/0; Job /items/1"},
		{"{apiVersion: v1, kind: List, items: [{apiVersion: apps/v1, kind: DeploymentList, items: [{}]}, {}]}", "apps/v1 Deployment /items/0/items/0; /items/1"},
		{"{apiVersion: v1, kind: PodList, items: []}", ""},
		{"{apiVersion: v1, kind: Shopping, items: [{}]}", "v1 Shopping"},
	} {
		var got []string
		for _, o := range Parse("x", []byte(test.text)).Documents[0].Objects() {
			got = append(got, strings.Join(strings.Fields(o.APIVersion+" "+o.Kind+" "+o.Name+" "+o.Pointer), " "))
		}
		if diff := cmp.Diff(strings.ReplaceAll(test.want, "; ", ";"), strings.Join(got, ";")); diff != "" {
			t.Errorf("%s: %s", test.text, diff)
		}
	}
}

// FuzzParse: the documents are the text, and nothing panics, whatever is asked.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"a: b\n---\nc: [d, {e: f}]\n", "{\"a\":[1,null]} {\"b\":2}", "a: &a\n  <<: *a\n", "- - a\n  - b\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		want, err := decodeText(text)
		if err == nil && bytes.Contains(want, []byte("\n"+mark)) {
			t.Fatalf("a mark is left in %q", want)
		}
		var whole []byte
		for _, d := range Parse("x", text).Documents {
			whole = append(whole, d.Text...)
			if root, ok := d.Root(); ok {
				root.Walk(func(v Value) { _ = v.Position(); _ = v.KeyPosition(); _ = v.Source() })
				d.Objects()
				_, _ = d.Patch([]inject.Op{{Op: "add", Path: "/spec", Value: []string{"x"}}})
			}
		}
		if !bytes.Equal(whole, want) {
			t.Fatalf("%q became %q", text, whole)
		}
	})
}
