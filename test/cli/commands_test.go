package cli_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"azwi/emulator"
	"azwi/emulator/emulatortest"
	"azwi/test/cluster"
)

// more are commands for scripts of several areas:
//
//	code N PROGRAM ARGS...   runs a program that shall exit with N
//	fault FAULT...           orders faults of the emulator, each as JSON, in place of the former
//	requests FILE            writes what the emulator was asked, as JSON
//	rest METHOD URL [FILE]   calls Graph or Resource Manager as the operator; variables are expanded
//	killed TEXT PROGRAM ARGS...   kills a program as soon as it has printed TEXT
//	upstream ACCOUNT         sets $APPLICATION and $CREDENTIAL to the names that upstream's azwi gives
func more() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	return map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"requests": func(ts *testscript.TestScript, _ bool, args []string) {
			w := worldOf(ts)
			var journal any
			w.azure.Admin(w.t, http.MethodGet, "/requests", nil, &journal)
			text, err := json.MarshalIndent(journal, "", "  ")
			ts.Check(err)
			ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
		},
		"rest":   rest,
		"killed": killed,
		"upstream": func(ts *testscript.TestScript, _ bool, args []string) {
			name := func(of string) string {
				hash := sha256.Sum256([]byte(of))
				return base64.URLEncoding.EncodeToString(hash[:])
			}
			account := ts.Getenv("NAMESPACE") + "-" + args[0]
			ts.Setenv("APPLICATION", account+"-"+name(ts.Getenv("ISSUER")))
			ts.Setenv("CREDENTIAL", name(account+"-"+ts.Getenv("ISSUER")))
		},
		"code": func(ts *testscript.TestScript, _ bool, args []string) {
			want, err := strconv.Atoi(args[0])
			ts.Check(err)
			err = ts.Exec(args[1], args[2:]...)
			got := 0
			if failed, ok := errors.AsType[*exec.ExitError](err); ok {
				got = failed.ExitCode()
			} else {
				ts.Check(err)
			}
			if got != want {
				ts.Fatalf("exit code %d, want %d", got, want)
			}
		},
		"fault": func(ts *testscript.TestScript, _ bool, args []string) {
			faults := []any{}
			for _, text := range args {
				var fault any
				ts.Check(json.Unmarshal([]byte(text), &fault))
				faults = append(faults, fault)
			}
			w := worldOf(ts)
			w.azure.Admin(w.t, http.MethodPut, "/faults", map[string]any{"faults": faults}, nil)
		},
	}
}

type worldKey struct{}

// world is what commands of a script need.
type world struct {
	t     *testing.T
	azure *emulatortest.Server
}

// keepWorld is the setup of suites with more.
func keepWorld(t *testing.T, env *testscript.Env, azure *emulatortest.Server, _ *cluster.Cluster) error {
	env.Values[worldKey{}] = world{t, azure}
	return nil
}

func worldOf(ts *testscript.TestScript) world {
	w, ok := ts.Value(worldKey{}).(world)
	if !ok {
		ts.Fatalf("the suite has no setup: keepWorld")
	}
	return w
}

func rest(ts *testscript.TestScript, _ bool, args []string) {
	w := worldOf(ts)
	target, err := url.Parse(args[1])
	ts.Check(err)
	body := ""
	if len(args) > 2 {
		body = os.Expand(ts.ReadFile(args[2]), ts.Getenv)
	}
	client := w.azure.ProxyClient(w.t)
	answer, err := client.PostForm("https://login.microsoftonline.com/"+emulator.DefaultTenantID+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {emulator.DefaultOperatorID},
		"client_secret": {emulator.DefaultOperatorSecret}, "scope": {target.Scheme + "://" + target.Host + "/.default"},
	})
	ts.Check(err)
	defer answer.Body.Close()
	var token struct {
		Value string `json:"access_token"`
	}
	ts.Check(json.NewDecoder(answer.Body).Decode(&token))
	req, err := http.NewRequestWithContext(w.t.Context(), args[0], target.String(), strings.NewReader(body))
	ts.Check(err)
	req.Header.Set("Authorization", "Bearer "+token.Value)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if resp.StatusCode >= http.StatusMultipleChoices {
		ts.Fatalf("%s: %s", resp.Status, text)
	}
	_, err = ts.Stdout().Write(text)
	ts.Check(err)
}

// killed runs a program that shall be killed in between. What it does next must
// be held up by a fault, else it may be too quick.
func killed(ts *testscript.TestScript, _ bool, args []string) {
	path, err := exec.LookPath(args[1])
	ts.Check(err)
	cmd := exec.CommandContext(worldOf(ts).t.Context(), path, args[2:]...)
	cmd.Dir, cmd.Env = ts.MkAbs("."), environment(ts)
	var printed strings.Builder
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	seen := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		printed.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), args[0]) {
			seen = true
			ts.Check(cmd.Process.Kill())
		}
	}
	err = cmd.Wait()
	if failed, ok := errors.AsType[*exec.ExitError](err); !seen || !ok || failed.ExitCode() != -1 {
		ts.Fatalf("not killed at %q: %v\n%s%s", args[0], err, printed.String(), stderr.String())
	}
}

// environment has the variables that scripts of this package use.
func environment(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "KUBECONFIG", "HTTPS_PROXY", "SSL_CERT_FILE", "AZURE_TENANT_ID", "AZURE_SUBSCRIPTION_ID", "AZURE_CLIENT_SECRET", "AZURE_CONFIG_DIR"} {
		env = append(env, name+"="+ts.Getenv(name))
	}
	return env
}
