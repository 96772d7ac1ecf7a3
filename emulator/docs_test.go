package emulator_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"azwi/emulator"
	"azwi/emulator/emulatortest"
	"azwi/emulator/internal/fault"
	"azwi/emulator/internal/seed"
)

var update = flag.Bool("update", false, "write the generated files again")

// example takes the block that begins with "# name" out of docs/emulator.md.
func example(t *testing.T, name string) []byte {
	t.Helper()
	doc, err := os.ReadFile("../docs/emulator.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(doc), "```yaml\n# "+name+"\n")
	block, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatalf("docs/emulator.md has no example %s", name)
	}
	return []byte(block)
}

// The examples of the documentation work, and do what their comments say.
func TestDocumentedExamples(t *testing.T) {
	t.Parallel()
	issuer := emulatortest.NewIssuer(t)
	issuer.URL = "https://kubernetes.default.svc.cluster.local"
	dir := t.TempDir()
	jwks, err := json.Marshal(issuer.JWKS())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "jwks.json"), jwks, 0o600); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	cloud := emulatortest.Start(t, emulator.Config{
		Seed: example(t, "seed.yaml"), SeedName: filepath.Join(dir, "seed.yaml"), Faults: example(t, "faults.yaml"), RandomSeed: 3,
		Now: func() time.Time { return now },
	})
	const path = "contoso.onmicrosoft.com/oauth2/v2.0/token"
	const worker = "33333333-0000-4000-8000-000000000003"
	statuses := map[int]int{}
	var access string
	for range 40 {
		got := post(t, cloud, path, exchange(worker, issuer.Token(t, "default", "worker", nil)))
		statuses[got.Status]++
		if got.AccessToken != "" {
			access = got.AccessToken
		}
	}
	if statuses[200]+statuses[429] != 40 || statuses[429] == 0 || statuses[429] > 20 {
		t.Errorf("statuses %v, want some 429", statuses)
	}
	secret := cloud.VaultURL("web") + "/secrets/greeting?api-version=7.5"
	if status, answer := get(t, cloud, secret, access); status != 200 || answer["value"] != "hello" {
		t.Errorf("secret: %d %v", status, answer)
	}
	cloud.Advance(10 * time.Minute)
	if status, _ := get(t, cloud, secret, access); status != http.StatusServiceUnavailable {
		t.Errorf("during the outage: %d", status)
	}
	if err := cloud.SetFaults(nil); err != nil {
		t.Fatal(err)
	}
	// iat is of the real clock, and the emulated one is ten minutes ahead.
	for account, want := range map[string]int{"preview-7": 200, "other": 401} {
		if got := post(t, cloud, path, exchange(worker, issuer.Token(t, account, "worker", nil))); got.Status != want {
			t.Errorf("flexible credential in %s: %+v", account, got)
		}
	}
	form := exchange("33333333-0000-4000-8000-000000000001", issuer.Token(t, "default", "web", nil))
	form.Set("scope", "api://web/.default")
	got := post(t, cloud, path, form)
	if got.Status != 200 {
		t.Fatalf("application's own resource: %+v", got)
	}
	if claims := claimsOf(t, got.AccessToken); claims["ver"] != "2.0" || claims["aud"] != "33333333-0000-4000-8000-000000000001" || claims["azpacr"] != "2" {
		t.Errorf("claims %v", claims)
	}
	form.Set("scope", "api://partner/.default")
	if got := post(t, cloud, path, form); got.Status != 200 {
		t.Errorf("tenant's resource: %+v", got)
	}
}

// The schemas say what the types do; go test ./emulator -update writes them.
func TestSchemas(t *testing.T) {
	t.Parallel()
	for _, s := range []struct {
		name, source, title string
		root                reflect.Type
	}{
		{"emulator-seed.json", "internal/seed/file.go", "Seed file of azwi-emulator", reflect.TypeFor[seed.File]()},
		{"emulator-faults.json", "internal/fault/fault.go", "Faults file of azwi-emulator", reflect.TypeFor[fault.File]()},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			schema := schemaOf(s.root, comments(t, s.source))
			schema["$schema"], schema["title"] = "https://json-schema.org/draft/2020-12/schema", s.title
			want, err := json.MarshalIndent(schema, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, '\n')
			path := filepath.Join("../docs/schema", s.name)
			if *update {
				if err := os.WriteFile(path, want, 0o644); err != nil { //nolint:gosec // a document
					t.Fatal(err)
				}
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s is stale (%v): go test ./emulator -run TestSchemas -update", path, err)
			}
		})
	}
}

// comments are the doc comments of a file's struct fields by TYPE.FIELD, and of
// its types by TYPE.
func comments(t *testing.T, file string) map[string]string {
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
