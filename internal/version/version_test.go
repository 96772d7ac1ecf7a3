package version

import "testing"

func TestImage(t *testing.T) {
	if got := Image("azwi/proxy"); got != "" || Registry() != "" {
		t.Errorf("a build without a registry has the image %q, the registry %q", got, Registry())
	}
	registry, value = "registry.example.com/team", "v2.0.0"
	defer func() { registry, value = "", "" }()
	if got := Image("azwi/proxy"); got != "registry.example.com/team/azwi/proxy:v2.0.0" {
		t.Errorf("got %q", got)
	}
}
