package clients

import (
	"slices"
	"strings"
	"testing"
)

func TestGo(t *testing.T) {
	t.Parallel()
	c := start(t)
	program := built.path(t, "gosdk")
	tests := []struct {
		name   string
		direct bool
		env    []string
		args   []string
		arm    bool
	}{
		{"WorkloadIdentity by proxy", false, c.workload(), []string{"-credential", "workload"}, false},
		{"WorkloadIdentity direct", true, c.workload(), []string{"-credential", "workload"}, false},
		{"ClientSecret by proxy", false, operator(), []string{"-credential", "secret"}, true},
		{"ClientSecret direct", true, operator(), []string{"-credential", "secret"}, true},
		{"ClientCertificate by proxy", false, operator(), []string{"-credential", "certificate", "-certificate", c.certFile}, true},
		{"ClientCertificate direct", true, operator(), []string{"-credential", "certificate", "-certificate", c.certFile}, true},
		// The address of the metadata service can be reached by the proxy only.
		{"ManagedIdentity by proxy", false, []string{"AZURE_CLIENT_ID=" + podID}, []string{"-credential", "managed"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := slices.Clone(tt.args)
			vault, manager := proxyVault, "https://management.azure.com"
			if tt.direct {
				vault, manager = c.directVault(), strings.TrimSuffix(c.Authority, "/")
				args = append(args, "-direct")
			}
			args = append(args, "-vault", vault)
			want := result{Secret: greeting, Secrets: secretCount}
			if tt.arm {
				args = append(args, "-arm", manager, "-subscription", subscriptionID, "-group", group)
				want.Credentials = 5
			}
			if got := runJSON(t, c.environment(t, tt.direct, tt.env...), program, args...); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}
