package federation

import (
	"flag"
	"reflect"
	"testing"

	"azwi/internal/document/documenttest"
	"azwi/internal/identity/federation"
)

var update = flag.Bool("update", false, "write the schemas again")

// The schemas say what the types do; go test ./internal/cli/federation -update writes them.
func TestSchemas(t *testing.T) {
	t.Parallel()
	for _, s := range []documenttest.Schema{
		{File: "../../../docs/schema/federation.json", Source: "../../identity/federation/file.go", Title: "Federation file of azwi", Type: reflect.TypeFor[federation.File]()},
		{File: "../../../docs/schema/federation-changes.json", Source: "../../identity/federation/plan.go", Title: "Output of azwi federation plan, apply, destroy, prune and migrate-issuer", Type: reflect.TypeFor[federationChanges]()},
		{File: "../../../docs/schema/federation-list.json", Source: "federation.go", Title: "Output of azwi federation list", Type: reflect.TypeFor[federationList]()},
	} {
		s.Check(t, *update)
	}
}
