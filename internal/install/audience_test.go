package install_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"azwi/internal/install"
	"azwi/internal/kube"
)

func TestAudience(t *testing.T) {
	t.Parallel()
	const (
		configuration = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/azure-wi-webhook-mutating-webhook-configuration"
		deployment    = "/apis/apps/v1/namespaces/azure-workload-identity-system/deployments/azure-wi-webhook-controller-manager"
		elsewhere     = "/apis/apps/v1/namespaces/identity/deployments/azure-wi-webhook-controller-manager"
		policy        = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies/azure-wi-policy"
	)
	for _, test := range []struct {
		name    string
		objects map[string]string
		code    int // of what is not in objects
		want    string
		fails   bool
	}{
		{name: "nothing is installed", code: 404, want: "api://AzureADTokenExchange"},
		{name: "nothing may be read", code: 403, want: "api://AzureADTokenExchange"},
		{name: "the API server fails", code: 500, fails: true},
		{name: "a webhook with the default", code: 404, want: "api://AzureADTokenExchange", objects: map[string]string{
			deployment: `{"spec":{"template":{"spec":{"containers":[{"args":["--log-level=info"]}]}}}}`,
		}},
		{name: "a webhook's flag", code: 403, want: "api://own", objects: map[string]string{
			deployment: `{"spec":{"template":{"spec":{"containers":[{"args":["--log-level=info","--audience=api://own"]}]}}}}`,
		}},
		{name: "a flag in two words, one dash", code: 404, want: "api://own", objects: map[string]string{
			deployment: `{"spec":{"template":{"spec":{"containers":[{"command":["/webhook","-audience"],"args":["api://own"]}]}}}}`,
		}},
		{name: "another flag that ends alike", code: 404, want: "api://AzureADTokenExchange", objects: map[string]string{
			deployment: `{"spec":{"template":{"spec":{"containers":[{"args":["--custom-token-endpoint-audience=api://other"]}]}}}}`,
		}},
		{name: "another namespace", code: 404, want: "api://own", objects: map[string]string{
			configuration: `{"webhooks":[{"clientConfig":{"service":{"namespace":"identity"}}}]}`,
			elsewhere:     `{"spec":{"template":{"spec":{"containers":[{"args":["--audience=api://own"]}]}}}}`,
		}},
		{name: "the policy's variable", code: 404, want: "api://own", objects: map[string]string{
			policy: `{"spec":{"variables":[{"name":"volume","expression":"{\"audience\": dyn(\"api://own\")}"}],"mutations":[{"jsonPatch":{"expression":"a"}}]}}`,
		}},
		{name: "the policy", code: 404, want: "api://own", objects: map[string]string{
			policy: `{"spec":{"mutations":[{"jsonPatch":{"expression":"a"}},{"jsonPatch":{"expression":"{\"audience\": dyn(\"api://own\"), \"path\": dyn(\"token\")}"}}]}}`,
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if text, ok := test.objects[r.URL.Path]; ok {
					_, _ = w.Write([]byte(text))
					return
				}
				w.WriteHeader(test.code)
			}))
			t.Cleanup(server.Close)
			got, err := install.Audience(t.Context(), &kube.Client{HTTP: server.Client(), Host: server.URL})
			if got != test.want || (err != nil) != test.fails {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}
