package lint

import (
	"testing"

	"azwi/internal/pod/inject"
	"azwi/internal/pod/manifest"
)

// What injection finds and no rule names is told all the same.
func TestFindingWithoutRuleIsNotLost(t *testing.T) {
	t.Parallel()
	l := linter{config: Config{Disabled: []string{"off"}}}
	for _, name := range []string{string(inject.ReasonProxyImage), string(inject.ReasonUpstreamImages), "new", "off"} {
		l.find(name, manifest.Object{}, manifest.Position{}, "text")
	}
	if len(l.findings) != 3 || l.findings[2].Rule != "new" || l.findings[2].Severity != Warning {
		t.Errorf("%+v", l.findings)
	}
}
