package cli_test

import (
	"compress/gzip"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"azwi/test/process"
	"azwi/test/product"
)

// TestHostileAzure: the program itself, within 256 MiB, gets answers that have no
// end, or lead its token elsewhere. It ends with an error that says so.
func TestHostileAzure(t *testing.T) {
	t.Parallel()
	process.NeedMemoryLimit(t)
	folder := t.TempDir()
	azwi, err := product.Build(t.Context(), folder, "azwi", false)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("a request was sent elsewhere, authorization %q", r.Header.Get("Authorization"))
	}))
	t.Cleanup(elsewhere.Close)
	next := func(r *http.Request) string {
		at := "https://" + r.Host + r.URL.Path + "?page"
		return fmt.Sprintf(`"nextLink":%q,"@odata.nextLink":%[1]q`, at)
	}
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"gzip bomb": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			bomb, zeros := gzip.NewWriter(w), make([]byte, 1<<20)
			for range 4 << 10 {
				if _, err := bomb.Write(zeros); err != nil {
					return
				}
			}
		}, "more than 4 MiB"},
		"endless pages": {func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"value":[],"x":%q,%s}`, strings.Repeat("x", 3<<20), next(r))
		}, "more than 32 MiB"},
		"empty entries": {func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"value":[%s{}],%s}`, strings.Repeat("{},", 1<<20), next(r))
		}, "more than 100000 entries"},
		"next page elsewhere": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"value":[],"nextLink":%q,"@odata.nextLink":%[1]q}`, elsewhere.URL+"/x")
		}, "credentials are not sent there"},
		"redirect elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/x", http.StatusTemporaryRedirect)
		}, "credentials are not sent there"},
	} {
		for _, of := range [][]string{
			{"--managed-identity", "/subscriptions/33333333-0000-4000-8000-000000000003/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i"},
			{"--application", "web"},
		} {
			t.Run(name+" "+of[0], func(t *testing.T) {
				var server *httptest.Server
				server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "application/json")
					switch {
					case strings.HasSuffix(r.URL.Path, "openid-configuration"):
						tenant := server.URL + "/33333333-0000-4000-8000-000000000001"
						fmt.Fprintf(w, `{"authorization_endpoint":"%[1]s/authorize","token_endpoint":"%[1]s/token","issuer":"%[1]s/v2.0"}`, tenant)
					case strings.HasSuffix(r.URL.Path, "/token"):
						fmt.Fprint(w, `{"access_token":"secret","expires_in":3600,"token_type":"Bearer"}`)
					default:
						test.answer(w, r)
					}
				}))
				t.Cleanup(server.Close)
				roots := filepath.Join(t.TempDir(), "ca.crt")
				var pems []byte
				for _, s := range []*httptest.Server{server, elsewhere} {
					pems = append(pems, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})...)
				}
				if err := os.WriteFile(roots, pems, 0o600); err != nil {
					t.Fatal(err)
				}
				var stderr strings.Builder
				began := time.Now()
				child, err := process.Start(process.Config{
					Binary: azwi, Memory: 256 << 20, Stderr: &stderr, Env: []string{"SSL_CERT_FILE=" + roots, "AZURE_CLIENT_SECRET=s"},
					Args: append([]string{
						"federation", "list", "--auth-method", "client_secret", "--client-id", "33333333-0000-4000-8000-000000000002",
						"--tenant-id", "33333333-0000-4000-8000-000000000001", "--authority-host", server.URL,
						"--graph-endpoint", server.URL, "--resource-manager-endpoint", server.URL,
					}, of...),
				})
				if err != nil {
					t.Fatal(err)
				}
				err = child.Wait()
				use, memoryErr := child.Memory()
				t.Logf("%v, %s, %d MiB at most: %s", err, time.Since(began).Round(time.Millisecond), use.Peak>>20, stderr.String())
				if err == nil || memoryErr != nil || use.Kills > 0 || !strings.Contains(stderr.String(), test.want) {
					t.Errorf("%v, %v, killed %d times, want %q", err, memoryErr, use.Kills, test.want)
				}
			})
		}
	}
}
