package install_test

import (
	"testing"

	"azwi/internal/install"
)

// What is wrong with values is said in the chart's own words, without Helm's.
func TestRenderRefuses(t *testing.T) {
	t.Parallel()
	const tenant = "11111111-1111-1111-1111-111111111111"
	type values = map[string]any
	for _, test := range []struct {
		values values
		want   string
	}{
		{values{"engine": "polcy"}, "chart value engine: value must be one of 'webhook', 'policy', <nil>"},
		{values{"replicaCount": "many", "affinity": "x"}, "chart value affinity: got string, want null or object\nchart value replicaCount: 'many' does not match pattern '^[0-9]+$'"},
		{values{"nosuch": 1}, "unknown value nosuch: the chart's values.yaml lists what there is"},
		{values{"azureTenantID": tenant, "global": values{"imageRegistry": "r.example.com"}, "engine": "policy"}, "engine policy needs Kubernetes 1.36 or later, this is v1.33.0: set engine to webhook"},
		{values{"global": values{"imageRegistry": "r.example.com"}, "azureTenantID": "shop"}, "azureTenantID shop is not a GUID: set it to the tenant's ID, not to its name or a domain of it (az account show --query tenantId)"},
	} {
		_, _, err := install.Render(t.Context(), install.Release{Name: "a", Namespace: "n", Values: test.values, Version: "2.0.0", Kubernetes: "v1.33.0"})
		if err == nil || err.Error() != test.want {
			t.Errorf("%v: %v\nwant %s", test.values, err, test.want)
		}
	}
}
