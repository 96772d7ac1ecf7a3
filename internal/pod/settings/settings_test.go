package settings_test

import (
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"azwi/contract"
	"azwi/internal/pod/inject"
	"azwi/internal/pod/settings"
)

func read(t *testing.T, args []string, env map[string]string) (inject.Settings, error) {
	t.Helper()
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	f := settings.Register(fs)
	if err := fs.Parse(args); err != nil {
		return inject.Settings{}, err
	}
	return f.Settings(func(key string) string { return env[key] }, "registry.example/azwi/proxy:v1")
}

const custom = "--custom-token-endpoint-annotation-suffix=identity-binding --custom-token-endpoint-audience=api://AKSIdentityBinding"

func TestSettings(t *testing.T) {
	t.Parallel()
	endpoint := func(change func(*inject.CustomTokenEndpoint)) func(*inject.Settings) {
		return func(s *inject.Settings) {
			s.CustomTokenEndpoint = inject.CustomTokenEndpoint{Annotation: "azure.workload.identity/use-identity-binding", Audience: "api://AKSIdentityBinding"}
			change(&s.CustomTokenEndpoint)
		}
	}
	tests := []struct {
		name, args, env string // env: NAME=VALUE separated by blanks, beside the tenant
		want            func(*inject.Settings)
	}{
		{"least", "", "", func(*inject.Settings) {}},
		{"government", "", "AZURE_ENVIRONMENT=AzureUSGovernmentCloud", func(s *inject.Settings) { s.AuthorityHost = "https://login.microsoftonline.us/" }},
		{"upper case", "", "AZURE_ENVIRONMENT=AZURECHINACLOUD", func(s *inject.Settings) { s.AuthorityHost = "https://login.chinacloudapi.cn/" }},
		{"names of az", "", "AZURE_ENVIRONMENT=AzureUSGovernment", func(s *inject.Settings) { s.AuthorityHost = "https://login.microsoftonline.us/" }},
		{"names of az, public", "", "AZURE_ENVIRONMENT=azurecloud", func(*inject.Settings) {}},
		{"custom cloud, as written", "", "AZURE_AUTHORITY_HOST=https://login.example/adfs", func(s *inject.Settings) { s.AuthorityHost = "https://login.example/adfs" }},
		{"images", "", "PROXY_IMAGE=a PROXY_INIT_IMAGE=b", func(s *inject.Settings) { s.Proxy.Image, s.Proxy.InitImage = "a", "b" }},
		{"proxy", "--proxy-mode=env --proxy-https-proxy=http://p:1 --proxy-no-proxy=x --proxy-ca-configmap=ca", "", func(s *inject.Settings) {
			s.Defaults = map[string]string{contract.ProxyModeAnnotation: "env", contract.ProxyEgressAnnotation: "http://p:1", contract.ProxyNoEgressAnnotation: "x", contract.ProxyCAAnnotation: "ca"}
		}},
		{"resources", `--proxy-resources={"limits":{"memory":"1Gi"}} --proxy-init-resources={"requests":{"cpu":"1"}}`, "", func(s *inject.Settings) {
			s.Proxy.Resources = &inject.Resources{Limits: map[string]string{"memory": "1Gi"}}
			s.Proxy.InitResources = &inject.Resources{Requests: map[string]string{"cpu": "1"}}
		}},
		{"audience", "--audience=x", "", func(s *inject.Settings) { s.Audience = "x" }},
		{"one dash", "-audience x -token-path v1.5.1", "", func(s *inject.Settings) { s.Audience, s.Layout = "x", inject.LayoutV15 }},
		{"both paths", "--token-path=both", "", func(s *inject.Settings) { s.Layout = inject.LayoutBoth }},
		{"custom endpoint", custom, "AZURE_KUBERNETES_TOKEN_PROXY=https://p AZURE_KUBERNETES_SNI_NAME=sni AZURE_KUBERNETES_CA_DATA=PEM",
			endpoint(func(e *inject.CustomTokenEndpoint) { e.TokenProxy, e.SNIName, e.CAData = "https://p", "sni", "PEM" })},
		{"CA in a ConfigMap", custom, "AZURE_KUBERNETES_CA_CONFIGMAP_NAME=ca", endpoint(func(e *inject.CustomTokenEndpoint) { e.CAConfigMap = "ca" })},
		{"trust bundle", custom, `AZURE_KUBERNETES_CA_CTB_SIGNER_NAME=s AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR={"matchLabels":{"a":"b"}}`,
			endpoint(func(e *inject.CustomTokenEndpoint) {
				e.CATrustBundleSigner, e.CATrustBundleSelector = "s", []byte(`{"matchLabels":{"a":"b"}}`)
			})},
		{"an egress proxy with a user but no password", "--proxy-https-proxy=http://user@[::1]:3128", "", func(s *inject.Settings) { s.Defaults[contract.ProxyEgressAnnotation] = "http://user@[::1]:3128" }},
		{"endpoint's environment without its flags is not used", "", "AZURE_KUBERNETES_TOKEN_PROXY=https://p", func(*inject.Settings) {}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := inject.Settings{TenantID: "t", AuthorityHost: "https://login.microsoftonline.com/", Defaults: map[string]string{contract.ProxyModeAnnotation: "redirect"}, Proxy: inject.Proxy{Image: "registry.example/azwi/proxy:v1"}}
			tt.want(&want)
			got, err := read(t, strings.Fields(tt.args), environment("AZURE_TENANT_ID=t "+tt.env))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestMistakes: each names the flag or variable, and all are told at once.
func TestMistakes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, args, env string
		want            []string
	}{
		{"resources", `--proxy-resources={"limit":{}} --proxy-init-resources=1Gi`, "AZURE_TENANT_ID=t", []string{"--proxy-resources:", "--proxy-init-resources:", "limits"}},
		{"no tenant", "", "", []string{"AZURE_TENANT_ID is required"}},
		{"unknown cloud", "", "AZURE_TENANT_ID=t AZURE_ENVIRONMENT=AzureGermanCloud", []string{"AZURE_ENVIRONMENT", "AzureUSGovernmentCloud", "AZURE_AUTHORITY_HOST"}},
		{"image as a URL", "", "AZURE_TENANT_ID=t PROXY_IMAGE=https://registry.example/azwi/proxy:v1 PROXY_INIT_IMAGE=oci://x/y", []string{"PROXY_IMAGE", "is a URL", "PROXY_INIT_IMAGE"}},
		{"image whose registry envsubst left out", "", "AZURE_TENANT_ID=t PROXY_IMAGE=/azwi/proxy:v1", []string{"PROXY_IMAGE", "no registry"}},
		{"placeholders", "", "AZURE_TENANT_ID=${AZURE_TENANT_ID} PROXY_IMAGE=${AZWI_IMAGE_REGISTRY}/azwi/proxy:v1 AZURE_ENVIRONMENT=${AZURE_ENVIRONMENT:-AzurePublicCloud}", []string{
			"AZURE_TENANT_ID is still the placeholder ${AZURE_TENANT_ID}", "PROXY_IMAGE is still", "AZURE_ENVIRONMENT is still the placeholder ${AZURE_ENVIRONMENT:-AzurePublicCloud}", "envsubst",
		}},
		{"http authority", "", "AZURE_TENANT_ID=t AZURE_AUTHORITY_HOST=http://login.example/", []string{"AZURE_AUTHORITY_HOST", "https"}},
		{"suffix alone", "--custom-token-endpoint-annotation-suffix=x", "AZURE_TENANT_ID=t", []string{"both or neither"}},
		{"audience alone", "--custom-token-endpoint-audience=x", "AZURE_TENANT_ID=t", []string{"both or neither"}},
		{"default audience", "--custom-token-endpoint-annotation-suffix=x --custom-token-endpoint-audience=API://AzureADTokenExchange", "AZURE_TENANT_ID=t", []string{"may not be the default"}},
		{"suffix no key", "--custom-token-endpoint-annotation-suffix=a/b --custom-token-endpoint-audience=x", "AZURE_TENANT_ID=t", []string{"annotation key"}},
		{"suffix too long", "--custom-token-endpoint-annotation-suffix=" + strings.Repeat("a", 60) + " --custom-token-endpoint-audience=x", "AZURE_TENANT_ID=t", []string{"annotation key"}},
		{"two CAs", custom, "AZURE_TENANT_ID=t AZURE_KUBERNETES_CA_DATA=a AZURE_KUBERNETES_CA_CONFIGMAP_NAME=b", []string{"at most one of"}},
		{"selector alone", custom, "AZURE_TENANT_ID=t AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR={}", []string{"needs AZURE_KUBERNETES_CA_CTB_SIGNER_NAME"}},
		{"selector no JSON", custom, "AZURE_TENANT_ID=t AZURE_KUBERNETES_CA_CTB_SIGNER_NAME=s AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR=a=b", []string{"must be a label selector in JSON"}},
		{"token proxy with a query", custom, "AZURE_TENANT_ID=t AZURE_KUBERNETES_TOKEN_PROXY=https://u:secret@p?x", []string{"AZURE_KUBERNETES_TOKEN_PROXY", "no user, query"}},
		{"all at once", "--custom-token-endpoint-audience=x", "AZURE_ENVIRONMENT=x", []string{"AZURE_TENANT_ID", "AZURE_ENVIRONMENT", "both or neither"}},
		{"unknown proxy mode", "--proxy-mode=magic", "AZURE_TENANT_ID=t", []string{"--proxy-mode", "redirect or env"}},
		{"a password", "--proxy-https-proxy=http://u:secret@proxy.example:3128", "AZURE_TENANT_ID=t", []string{"--proxy-https-proxy has a password"}},
		{"a password without a scheme", "--proxy-https-proxy=u:secret@proxy.example:3128", "AZURE_TENANT_ID=t", []string{"--proxy-https-proxy has a password"}},
		{"a password with reserved characters", "--proxy-https-proxy=http://:secret:p@ss/w@proxy.example", "AZURE_TENANT_ID=t", []string{"--proxy-https-proxy has a password"}},
		{"unknown token path", "--token-path=v2", "AZURE_TENANT_ID=t", []string{"token-path", "v1.6.0, v1.5.1 or both"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := read(t, strings.Fields(tt.args), environment(tt.env))
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("%q tells a password", err)
			}
		})
	}
}

func environment(s string) map[string]string {
	env := map[string]string{}
	for pair := range strings.FieldsSeq(s) {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	return env
}

// TestNoImage: without PROXY_IMAGE and a registry of the build there is no image that
// anybody could own.
func TestNoImage(t *testing.T) {
	t.Parallel()
	env := environment("AZURE_TENANT_ID=t")
	s, err := settings.Register(flag.NewFlagSet("test", flag.ContinueOnError)).Settings(func(name string) string { return env[name] }, "")
	if err != nil || s.Proxy.Image != "" {
		t.Errorf("%q, %v", s.Proxy.Image, err)
	}
}
