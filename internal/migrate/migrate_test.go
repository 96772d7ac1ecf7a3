package migrate_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"azwi/internal/kube"
	"azwi/internal/migrate"
	"azwi/internal/pod/inject"
)

// answers are an API server's, by path without query.
type answers map[string]string

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	body, ok := a[r.URL.Path]
	switch {
	case ok:
	case strings.Contains(r.URL.Path, "/serviceaccounts/"):
		w.WriteHeader(http.StatusNotFound)
	default:
		body = `{"items":[]}`
	}
	fmt.Fprint(w, body)
	return w.Result(), nil
}

// cluster is one whose Deployment uses an AzureIdentity; the names are the test's.
func cluster(identity, namespace, deployment, account string) answers {
	const aad = "/apis/aadpodidentity.k8s.io/v1/"
	return answers{
		aad + "azureidentities": fmt.Sprintf(`{"items":[{"metadata":{"name":%q,"namespace":%q},
			"spec":{"clientID":"11111111-1111-1111-1111-111111111111","resourceID":"/subscriptions/s"}}]}`, identity, namespace),
		aad + "azureidentitybindings": fmt.Sprintf(`{"items":[{"metadata":{"name":"b","namespace":%q},"spec":{"azureIdentity":%q,"selector":"s"}}]}`, namespace, identity),
		"/apis/apps/v1/deployments": fmt.Sprintf(`{"items":[{"metadata":{"name":%q,"namespace":%q},"spec":{"template":{
			"metadata":{"labels":{"aadpodidbinding":"s"}},"spec":{"serviceAccountName":%q,"containers":[{"name":"app"}]}}}}]}`, deployment, namespace, account),
	}
}

// An API server can't choose where files are written, or what stands in them
// beside the objects.
func TestNamesOfAHostileAPIServer(t *testing.T) {
	t.Parallel()
	detect := func(a answers) ([]migrate.File, error) {
		plan, err := migrate.Detect(t.Context(), migrate.Config{API: &kube.Client{HTTP: &http.Client{Transport: a}}, Settings: inject.Settings{TenantID: "t", AuthorityHost: "https://login.example.com/", Proxy: inject.Proxy{Image: "r/proxy:1", InitImage: "r/proxy:1"}}})
		if err != nil {
			return nil, err
		}
		return plan.Files(true)
	}
	files, err := detect(cluster("identity", "shop", "orders", "billing"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		if !filepath.IsLocal(f.Path) {
			t.Error(f.Path)
		}
	}
	for _, bad := range []string{"..", ".", "../x", "/etc/cron.d/x", "a/b", `a\b`, "a\x00", "a\nb: c", "A", "-a", "a\u202eb", strings.Repeat("a", 254), "", "con:"} {
		for name, a := range map[string]answers{
			"identity":   cluster(bad, "shop", "orders", "billing"),
			"namespace":  cluster("identity", bad, "orders", "billing"),
			"deployment": cluster("identity", "shop", bad, "billing"),
			"account":    cluster("identity", "shop", "orders", bad),
		} {
			if bad == "" && name == "account" {
				continue // the account default
			}
			if files, err := detect(a); err == nil {
				t.Errorf("%s %q: %d files, no error", name, bad, len(files))
			}
		}
	}
}
