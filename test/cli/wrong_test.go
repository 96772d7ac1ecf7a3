package cli_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rogpeppe/go-internal/txtar"

	"azwi/test/cluster"
)

// TestWrongInputs: what a person reads after a mistake. The table has, for each command,
// its exit code, and what it prints to standard error. With -update it is written again.
func TestWrongInputs(t *testing.T) {
	t.Parallel()
	const file = "testdata/wrong/table.txtar"
	table, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := control.Start(t)
	env := &testscript.Env{WorkDir: t.TempDir()}
	for _, f := range table.Files {
		if err := os.WriteFile(filepath.Join(env.WorkDir, f.Name), f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := (suite{}).prepare(t, env, c); err != nil {
		t.Fatal(err)
	}
	clustersOf(t, env, c)
	env.Setenv("PATH", filepath.Join(env.WorkDir, "bin")+":"+os.Getenv("PATH"))
	env.Setenv("HOME", env.WorkDir)
	env.Setenv("NO_COLOR", "1")
	varying := strings.NewReplacer(env.WorkDir, "$WORK", env.Getenv("NAMESPACE"), "$NAMESPACE", c.URL, "$SERVER")
	random := regexp.MustCompile(`127\.0\.0\.1:\d{2,}|correlation ID [-0-9a-f]+`)
	anonymous := func(s string) string {
		if strings.HasPrefix(s, "correlation") {
			return "correlation ID ..."
		}
		return "127.0.0.1:PORT"
	}

	var got bytes.Buffer
	count := 0
	for line := range strings.Lines(string(table.Comment)) {
		command, isCommand := strings.CutPrefix(line, "$ ")
		if !isCommand {
			if strings.HasPrefix(line, "#") {
				fmt.Fprintf(&got, "%s\n", line)
			}
			continue
		}
		count++
		code, stderr := inShell(t, env, strings.TrimSpace(command))
		fmt.Fprintf(&got, "$ %sexit %d\n%s\n", command, code, random.ReplaceAllStringFunc(varying.Replace(stderr), anonymous))
	}
	if count < 40 {
		t.Errorf("only %d commands", count)
	}
	if *update {
		table.Comment = got.Bytes()
		if err := os.WriteFile(file, txtar.Format(table), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(table.Comment), got.String()); diff != "" {
		t.Errorf("-table +now:\n%s", diff)
	}
}

// inShell runs a command. One that ends in ^C is interrupted when it says something.
func inShell(t *testing.T, env *testscript.Env, command string) (code int, stderr string) {
	t.Helper()
	command, interrupt := strings.CutSuffix(command, " ^C")
	if interrupt {
		command = "exec " + command // no shell between it and the signal
	}
	shell := exec.CommandContext(t.Context(), "sh", "-c", command)
	said := &interrupter{process: func() error { return shell.Process.Signal(os.Interrupt) }, done: !interrupt}
	shell.Dir, shell.Env, shell.Stderr = env.WorkDir, env.Vars, said
	if err := shell.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return shell.ProcessState.ExitCode(), said.said.String()
}

// An interrupter keeps what a command says, and interrupts it once.
type interrupter struct {
	said    bytes.Buffer
	process func() error
	done    bool
}

func (i *interrupter) Write(p []byte) (int, error) {
	if !i.done {
		i.done = true
		if err := i.process(); err != nil {
			return 0, err
		}
	}
	return i.said.Write(p)
}

// clustersOf makes the service account orders, an az that is signed out, and kubeconfigs with
// something wrong: a user without rights, one who is not accepted, a certificate of somebody
// else, no API server.
func clustersOf(t *testing.T, env *testscript.Env, c *cluster.Cluster) {
	t.Helper()
	path := "/api/v1/namespaces/" + env.Getenv("NAMESPACE") + "/serviceaccounts"
	if _, err := c.Admin.Do(t.Context(), http.MethodPost, path, map[string]any{"metadata": map[string]any{"name": "orders"}}, nil); err != nil {
		t.Fatal(err)
	}
	limited := filepath.Join(env.WorkDir, "limited")
	if err := c.WriteKubeconfig(limited, "jane"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(limited)
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(env.Getenv("SSL_CERT_FILE")) // the emulator's
	if err != nil {
		t.Fatal(err)
	}
	certificate := regexp.MustCompile(`client-certificate-data: .*\n *client-key-data: .*\n`)
	for name, changed := range map[string]string{
		"expired":     certificate.ReplaceAllString(string(text), "token: expired\n"),
		"untrusted":   strings.Replace(string(text), base64.StdEncoding.EncodeToString(c.CA.PEM), base64.StdEncoding.EncodeToString(other), 1),
		"away":        strings.Replace(string(text), c.URL, "https://127.0.0.1:1", 1),
		"latin1.yaml": "name: caf\xe9\n",
	} {
		if err := os.WriteFile(filepath.Join(env.WorkDir, name), []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range []string{"folder", "bin"} {
		if err := os.Mkdir(filepath.Join(env.WorkDir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	signedOut := "#!/bin/sh\necho \"ERROR: Please run 'az login' to setup account.\" >&2\nexit 1\n"
	if err := os.WriteFile(filepath.Join(env.WorkDir, "bin", "az"), []byte(signedOut), 0o700); err != nil {
		t.Fatal(err)
	}
}
