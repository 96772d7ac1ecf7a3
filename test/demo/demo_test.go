package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"azwi/test/cluster"
	"azwi/test/product"
)

// TestDemo runs what `make demo` runs, reads its output and looks at what it left.
func TestDemo(t *testing.T) {
	t.Parallel()
	programs := build(t)
	for name, args := range map[string][]string{"mount namespace": nil, "rewritten paths": {"-rewrite-paths"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if args == nil && os.Geteuid() != 0 {
				t.Skip("making a mount namespace needs root")
			}
			cmd, tmp := programs.command(t, args...)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			text := string(out)
			without, with, _ := strings.Cut(text, "## Build etcd and kube-apiserver")
			if !strings.Contains(with, "That was the whole path") {
				t.Error("the output has no end")
			}
			for _, want := range []string{
				"AZURE_FEDERATED_TOKEN_FILE  /var/run/secrets/azure/wi/token/azure-identity-token",
				"a token for api://AzureADTokenExchange, 3600 s",
				`secret greeting: "hello from the vault"`,
				"AADSTS700213: No matching federated identity record found for presented assertion subject 'system:serviceaccount:shop:billing'",
				"advice: ",
			} {
				if !strings.Contains(without, want) || !strings.Contains(with, want) {
					t.Errorf("a part lacks %q", want)
				}
			}
			if strings.Contains(text, "rewritten") != (args != nil) {
				t.Error("the output does not tell the truth about mount paths")
			}
			if strings.Contains(text, "eyJ") {
				t.Error("the output holds a token")
			}
			if t.Failed() {
				t.Logf("%s", out)
			}
			leftNothing(t, tmp)
		})
	}
}

// TestInterrupted ends the demo by Ctrl-C as soon as the API server is up.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	cmd, tmp := build(t).command(t)
	seen := &waitFor{text: "8. ", found: make(chan struct{})}
	var errs strings.Builder
	cmd.Stdout, cmd.Stderr = seen, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-seen.found:
	case <-t.Context().Done():
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 || !strings.Contains(errs.String(), "everything that was started is gone") {
		t.Errorf("exit code %d, %q", code, errs.String())
	}
	leftNothing(t, tmp)
}

// TestPlayground tries the playground's commands in a shell that reads its env file, and
// closes it.
func TestPlayground(t *testing.T) {
	t.Parallel()
	p := build(t)
	folder := filepath.Join(t.TempDir(), "playground")
	cmd, tmp := p.command(t, "-playground", folder)
	seen := &waitFor{text: "Ctrl-C ends everything", found: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = seen, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-seen.found:
	case <-t.Context().Done():
	}
	shell := exec.CommandContext(t.Context(), "sh", "-ec", `. "$1"
azwi serviceaccount create --service-account shop/orders \
  --managed-identity orders --resource-group shop --wait=false
azwi token --service-account shop/orders --resource https://vault.azure.net --decode
kubectl -n shop run try --image=busybox --labels=azure.workload.identity/use=true \
  --overrides='{"spec":{"serviceAccountName":"orders"}}' --dry-run=server -o yaml
kubectl -n shop create serviceaccount billing
azwi token --service-account shop/billing --client-id `+clientID+` --resource https://vault.azure.net || echo "code $?"
`, "sh", filepath.Join(folder, "env"))
	out, err := shell.CombinedOutput()
	for _, want := range []string{`"aud": "https://vault.azure.net"`, "name: AZURE_FEDERATED_TOKEN_FILE", "AADSTS700213", "what to do: ", "code 1"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the shell's output lacks %q: %v\n%s", want, err, out)
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(seen.seen.String(), "The playground is closed") {
		t.Errorf("%v\n%s", err, seen.seen.String())
	}
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
	leftNothing(t, tmp)
}

// TestFailure: a binary is missing, so a step fails; what was started is gone too.
func TestFailure(t *testing.T) {
	t.Parallel()
	cmd, tmp := build(t).command(t, "-bin", t.TempDir())
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "demo failed: step 1") {
		t.Errorf("%v\n%s", err, out)
	}
	leftNothing(t, tmp)
}

type programs struct{ dir, root string }

func build(t *testing.T) programs {
	t.Helper()
	if _, err := cluster.Build(t.Context(), cluster.BuildConfig{}); err != nil {
		t.Fatal(err)
	}
	p := programs{dir: t.TempDir()}
	var err error
	if p.root, err = product.Root(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"azwi", "azwi-emulator", "azwi-webhook"} {
		if _, err := product.Build(t.Context(), p.dir, command, false); err != nil {
			t.Fatal(err)
		}
	}
	for program, source := range map[string]string{"demo": "./demo", "workload": "./demo/workload"} {
		if err := product.BuildTest(t.Context(), filepath.Join(p.dir, program), source); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// command is the demo with a temporary folder of its own.
func (p programs) command(t *testing.T, args ...string) (cmd *exec.Cmd, tmp string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	tmp = t.TempDir()
	cmd = exec.CommandContext(ctx, filepath.Join(p.dir, "demo"), append([]string{"-bin", p.dir, "-workload", filepath.Join(p.dir, "workload")}, args...)...)
	cmd.Dir = p.root
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	return cmd, tmp
}

// leftNothing looks for files, and for processes that were started in tmp.
func leftNothing(t *testing.T, tmp string) {
	t.Helper()
	if files, err := os.ReadDir(tmp); err != nil || len(files) > 0 {
		t.Errorf("left in the temporary folder: %v %v", files, err)
	}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range lines {
		if line, err := os.ReadFile(file); err == nil && strings.Contains(string(line), tmp) {
			t.Errorf("still running: %s", strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	if err := syscall.Access("/var/run/secrets/entra", 0); err == nil {
		t.Error("the pod's files show outside its mount namespace")
	}
}

// waitFor closes found when text has been written.
type waitFor struct {
	text  string
	seen  strings.Builder
	found chan struct{}
	done  bool
}

func (w *waitFor) Write(p []byte) (int, error) {
	w.seen.Write(p)
	if !w.done && strings.Contains(w.seen.String(), w.text) {
		w.done = true
		close(w.found)
	}
	return len(p), nil
}
