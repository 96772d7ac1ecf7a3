package documenttest

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// A Schema is a JSON Schema that is made from a Go type.
type Schema struct {
	// File is where it is kept.
	File string
	// Source is the Go file of the type, whose comments become descriptions.
	Source string
	// Title of the schema.
	Title string
	// Type of the document.
	Type reflect.Type
}

// Check fails the test if the file is not what the type says; with update it
// writes the file.
func (s Schema) Check(t testing.TB, update bool) {
	t.Helper()
	schema := schemaOf(s.Type, comments(t, s.Source))
	schema["$schema"], schema["title"] = "https://json-schema.org/draft/2020-12/schema", s.Title
	want, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if update {
		if err := os.WriteFile(s.File, want, 0o644); err != nil { //nolint:gosec // a document
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(s.File); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is stale (%v): go test -run TestSchemas -update writes it", s.File, err)
	}
}

// comments are the doc comments of a file's struct fields by TYPE.FIELD, and of
// its types by TYPE.
func comments(t testing.TB, file string) map[string]string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	oneLine := func(g *ast.CommentGroup) string { return strings.Join(strings.Fields(g.Text()), " ") }
	for _, decl := range parsed.Decls {
		types, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range types.Specs {
			named, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			out[named.Name.Name] = oneLine(types.Doc)
			if fields, ok := named.Type.(*ast.StructType); ok {
				for _, f := range fields.Fields.List {
					for _, name := range f.Names {
						out[named.Name.Name+"."+name.Name] = oneLine(f.Doc)
					}
				}
			}
		}
	}
	return out
}

func schemaOf(t reflect.Type, doc map[string]string) map[string]any {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return map[string]any{"type": "string", "pattern": `^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$`}
	case t == reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem(), doc)
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem(), doc)}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem(), doc)}
	case reflect.Struct:
		properties, required := map[string]any{}, []string{}
		for f := range t.Fields() {
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" {
				continue
			}
			property := schemaOf(f.Type, doc)
			if text := doc[t.Name()+"."+f.Name]; text != "" {
				property["description"] = text
			}
			properties[name] = property
			if options == "" {
				required = append(required, name)
			}
		}
		schema := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
		if len(required) > 0 {
			schema["required"] = required
		}
		if text := doc[t.Name()]; text != "" {
			schema["description"] = text
		}
		return schema
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	}
	return map[string]any{"type": "string"}
}
