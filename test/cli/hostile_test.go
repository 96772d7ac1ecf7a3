package cli_test

import (
	"compress/gzip"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"azwi/test/process"
	"azwi/test/product"
)

// TestHostileAzure runs the program itself against hostile answers.
func TestHostileAzure(t *testing.T) {
	t.Parallel()
	azwi, err := product.Build(t.Context(), t.TempDir(), "azwi", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("answers", func(t *testing.T) { hostileAnswers(t, azwi) })
	t.Run("names", func(t *testing.T) { hostileNames(t, azwi) })
}

// hostileAnswers have no end, or lead the token elsewhere. Within 256 MiB, the program
// ends with an error that says so.
func hostileAnswers(t *testing.T, azwi string) {
	process.NeedMemoryLimit(t)
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
				server := azure(t, test.answer)
				roots := trusted(t, server, elsewhere)
				var stderr strings.Builder
				began := time.Now()
				child, err := process.Start(process.Config{
					Binary: azwi, Memory: 256 << 20, Stderr: &stderr, Env: []string{"SSL_CERT_FILE=" + roots, "AZURE_CLIENT_SECRET=s"},
					Args: slices.Concat([]string{"federation", "list"}, signIn(server), of),
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

// azure is a server in place of all of Azure: anybody signs in, and answer does the
// rest.
func azure(t *testing.T, answer http.HandlerFunc) *httptest.Server {
	t.Helper()
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
			answer(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// signIn are the flags with which a command signs in to that server and asks it.
func signIn(server *httptest.Server) []string {
	return []string{
		"--auth-method", "client_secret", "--client-id", "33333333-0000-4000-8000-000000000002",
		"--tenant-id", "33333333-0000-4000-8000-000000000001", "--authority-host", server.URL,
		"--graph-endpoint", server.URL, "--resource-manager-endpoint", server.URL,
	}
}

// trusted is a file of the servers' certificates.
func trusted(t *testing.T, servers ...*httptest.Server) string {
	t.Helper()
	var pems []byte
	for _, s := range servers {
		pems = append(pems, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})...)
	}
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, pems, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// hostileNames and messages, which another user of the same tenant or subscription
// chose, reach a terminal escaped, in tables as in errors.
func hostileNames(t *testing.T, azwi string) {
	const hostile = "x\x1b]0;owned\x07\x1b[31m\u009b2J\u202etxt.exe\u2066\u200b\nazwi: all is well\r\x7f"
	quoted, err := json.Marshal(hostile)
	if err != nil {
		t.Fatal(err)
	}
	const id = "/subscriptions/33333333-0000-4000-8000-000000000003/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i"
	list := func(of ...string) []string { return append([]string{"federation", "list"}, of...) }
	names := fmt.Sprintf(`{"value":[{"id":%[2]q,"appId":"33333333-0000-4000-8000-000000000004","displayName":%[1]s,"name":%[1]s,"description":%[1]s,"issuer":%[1]s,"subject":%[1]s,
		"audiences":[%[1]s],"actions":[%[1]s],"properties":{"issuer":%[1]s,"subject":%[1]s,"audiences":[%[1]s],"roleName":%[1]s}}],
		"id":%[2]q,"name":%[1]s,"properties":{"clientId":%[1]s,"principalId":%[1]s}}`, quoted, id)
	refusal := fmt.Sprintf(`{"error":{"code":%[1]s,"message":%[1]s}}`, quoted)
	for name, test := range map[string]struct {
		args   []string
		status int
		answer string
	}{
		"credentials of an identity":     {list("--managed-identity", id), http.StatusOK, names},
		"credentials of an application":  {list("--application", "web"), http.StatusOK, names},
		"all of a subscription":          {list("--subscription-id", "33333333-0000-4000-8000-000000000003"), http.StatusOK, names},
		"refusal of Resource Manager":    {list("--managed-identity", id), http.StatusBadRequest, refusal},
		"refusal of Graph":               {list("--application", "web"), http.StatusForbidden, refusal},
		"what a caller is allowed to do": {[]string{"permissions", "check", "--managed-identity", id}, http.StatusForbidden, refusal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := azure(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				fmt.Fprint(w, test.answer)
			})
			cmd := exec.CommandContext(t.Context(), azwi, slices.Concat(test.args, signIn(server))...)
			cmd.Env = []string{"SSL_CERT_FILE=" + trusted(t, server), "AZURE_CLIENT_SECRET=s", "HOME=" + t.TempDir()}
			out, err := cmd.CombinedOutput()
			t.Logf("%v: %s", err, out)
			if !strings.Contains(string(out), "txt.exe") {
				t.Error("the text is missing: this test proves nothing")
			}
			if strings.Contains(string(out), "\nazwi: all is well") {
				t.Error("a forged line")
			}
			for _, r := range string(out) {
				if r != '\n' && !unicode.IsPrint(r) {
					t.Errorf("%U reaches the terminal", r)
				}
			}
		})
	}
}
