package federation_test

import (
	"os"
	"strings"
	"testing"

	"azwi/internal/identity/federation"
)

// The example of docs/federation.md is a file.
func TestDocumentedFile(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../../docs/federation.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(doc), "```yaml\n# federation.yaml\n")
	text, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatal("there is no example")
	}
	file, err := federation.Read("docs/federation.md", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(file.Clusters) != 2 || len(file.Identities) != 2 {
		t.Errorf("%+v", file)
	}
}
