package lint

import (
	"testing"

	"azwi/internal/finding"
	"azwi/internal/pod/manifest"
)

// What injection finds and no rule names is told all the same.
func TestFindingWithoutRuleIsNotLost(t *testing.T) {
	t.Parallel()
	l := linter{config: Config{Disabled: []string{string(finding.CodeHostNetwork)}}}
	for _, f := range []finding.Finding{finding.ProxyImage(), finding.UpstreamImages(), finding.HostNetwork()} {
		l.find(f, manifest.Object{}, manifest.Position{})
	}
	if len(l.findings) != 2 || l.findings[1].Code() != finding.CodeUpstreamImages || l.findings[1].Severity != finding.Warning {
		t.Errorf("%+v", l.findings)
	}
}
