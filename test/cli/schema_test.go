package cli_test

import (
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schema validates JSON by a schema of docs/schema: `schema lint.json stdout`.
func schema(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: schema SCHEMA FILE")
	}
	// Scripts run in the package's folder.
	compiled, err := jsonschema.NewCompiler().Compile(filepath.Join("..", "..", "docs", "schema", args[0]))
	ts.Check(err)
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(ts.ReadFile(args[1])))
	ts.Check(err)
	switch err := compiled.Validate(value); {
	case err != nil && !neg:
		ts.Fatalf("%s: %v", args[1], err)
	case err == nil && neg:
		ts.Fatalf("%s is valid by %s", args[1], args[0])
	}
}
