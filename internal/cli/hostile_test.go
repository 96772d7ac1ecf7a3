package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"azwi/internal/cli/command"
)

// hostile is what somebody else may have written: a title, colours, a cursor move in
// C1, a right-to-left override, an isolate, an invisible space, a line of "ours".
const hostile = "x\x1b]0;owned\x07\x1b[31m\u009b2J\u202etxt.exe\u2066\u200b\nazwi: all is well\r\x7f"

// raw fails if text has what a terminal obeys, or a line that begins as ours would.
func raw(t *testing.T, name, text string) {
	t.Helper()
	for _, r := range text {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("%s: %U in %+q", name, r, text)
		}
	}
	if strings.Contains(text, "\nazwi: all is well") {
		t.Errorf("%s: a forged line:\n%s", name, text)
	}
}

// No command lets texts of an API server, a file or an argument reach a terminal as
// they are.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	quoted, err := json.Marshal(hostile)
	if err != nil {
		t.Fatal(err)
	}
	status := fmt.Sprintf(`{"kind":"Status","reason":"Forbidden","message":%s}`, quoted)
	for name, answer := range map[string]struct {
		code int
		body string
	}{
		"refusal": {403, status}, "failure": {500, status}, "no JSON": {200, hostile},
		"names":   {200, fmt.Sprintf(`{"gitVersion":%[1]s,"metadata":{"name":%[1]s,"namespace":%[1]s},"items":[{"metadata":{"name":%[1]s,"namespace":%[1]s}}]}`, quoted)},
		"version": {200, fmt.Sprintf(`{"gitVersion":"v1.37.2","issuer":%[1]s,"items":[{"metadata":{"name":"a","namespace":"b"},"spec":{"resourceID":%[1]s}}]}`, quoted)},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(answer.code)
			fmt.Fprint(w, answer.body)
		}))
		t.Cleanup(server.Close)
		kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
		config := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],
			"clusters":[{"name":"c","cluster":{"server":%q}}],"users":[{"name":"u","user":{"token":"t"}}]}`, server.URL)
		if err := os.WriteFile(kubeconfig, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{
			{"podidentity", "detect", "-A", "-o", t.TempDir(), "--kubeconfig", kubeconfig},
			{"status", "--kubeconfig", kubeconfig},
			{"policy", "verify", "--kubeconfig", kubeconfig},
			{"uninstall", "--yes", "--kubeconfig", kubeconfig},
			{"__complete", "podidentity", "detect", "--kubeconfig", kubeconfig, "--namespace", ""},
			{"token", "--service-account", "shop/orders", "--resource", "r", "--kubeconfig", kubeconfig},
			{"wait", "--service-account", "shop/orders", "--timeout", "1ms", "--kubeconfig", kubeconfig},
		} {
			code, stdout, stderr := azwi(t, args...)
			if code == command.ExitOK {
				t.Logf("%s: %s: no failure", name, args[0])
			}
			raw(t, name+" "+args[0], stdout)
			raw(t, name+" "+args[0], stderr)
		}
	}
	file := filepath.Join(t.TempDir(), "file.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, `{"apiVersion":"azwi/v1","kind":"Federation",%s:1,"clusters":[{"name":%[1]s,"issuer":%[1]s}]}`, quoted), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{hostile},
		{"--" + hostile},
		{"federation", "plan", "-f", file},
		{"federation", "plan", "-f", hostile},
		{"lint", "-f", file},
		{"lint", "--disable", hostile},
		{"inject", "-f", file},
		{"token", "--service-account", hostile, "--resource", "r"},
		{"wait", "--service-account", hostile},
		{"install", "--set", hostile},
		{"install", "--engine", hostile},
		{"policy", "generate", "--name", hostile},
		{"jwks", "--public-keys", strings.ReplaceAll(hostile, "\n", "")},
		{"exec", "--service-account", "shop/orders", "--", hostile},
		{"version", "--output", hostile},
	} {
		code, stdout, stderr := azwi(t, args...)
		if code == command.ExitOK && args[0] != "inject" && args[0] != "lint" {
			t.Errorf("%q: no failure", args)
		}
		raw(t, fmt.Sprintf("%.20q", args), stdout)
		raw(t, fmt.Sprintf("%.20q", args), stderr)
	}
}
