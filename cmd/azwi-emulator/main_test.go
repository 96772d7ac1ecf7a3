package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"azwi/emulator"
)

// runsCommand makes the test binary be the command itself.
const runsCommand = "AZWI_EMULATOR_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(runsCommand) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// command is the emulator as a process of its own.
func command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), runsCommand+"=1")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// freePorts are the flags that take any free ports.
func freePorts() []string {
	return []string{"--listen", "127.0.0.1:0", "--proxy-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}
}

func TestCommand(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "it's here")
	cmd := command(t.Context(), append(freePorts(), "--dir", dir, "--random-seed", "7")...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var ready map[string]string
	decoder := json.NewDecoder(out)
	if err := decoder.Decode(&ready); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"authority", "proxy", "admin", "dir"} {
		if ready[key] == "" {
			t.Errorf("the ready line has no %s: %v", key, ready)
		}
	}
	// The exports work in a shell, and the token opens the management API.
	shell := exec.CommandContext(t.Context(), "sh", "-c", `. "$1/env" && printf '%s\n' "$HTTPS_PROXY" "$https_proxy" "$HTTP_PROXY" "$NO_PROXY" "$SSL_CERT_FILE" "$NODE_EXTRA_CA_CERTS" "$REQUESTS_CA_BUNDLE"`, "sh", dir)
	got, err := shell.Output()
	want := strings.Join([]string{ready["proxy"], ready["proxy"], ready["proxy"], "localhost,127.0.0.1,::1",
		filepath.Join(dir, "ca-bundle.crt"), filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca-bundle.crt"), ""}, "\n")
	if err != nil || string(got) != want {
		t.Errorf("exports %v:\n%s\nwant\n%s", err, got, want)
	}
	token, err := os.ReadFile(filepath.Join(dir, "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, ready["admin"]+"/state", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("management API: %d", resp.StatusCode)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(io.MultiReader(decoder.Buffered(), out))
	if err != nil || strings.TrimSpace(string(rest)) != "" {
		t.Errorf("more on stdout: %q %v", rest, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("exit: %v", err)
	}
	for name, mode := range map[string]os.FileMode{"env": 0o600, "admin-token": 0o600, "state.json": 0o600, "ca-key.json": 0o600, "ca.crt": 0o644, "ca-bundle.crt": 0o644, ".": 0o700} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v; want mode %v", name, info, err, mode)
		}
	}
	if !strings.Contains(stderr.String(), "randomSeed=7") || strings.Contains(stderr.String(), strings.TrimSpace(string(token))) {
		t.Errorf("log: %s", stderr.String())
	}
}

// The bundle has the system's roots and the emulator's CA once, also when the
// shell that starts it again has sourced the exports.
func TestBundleKeepsRoots(t *testing.T) {
	dir := t.TempDir()
	roots := filepath.Join(t.TempDir(), "roots.pem")
	e, err := emulator.New(emulator.Config{})
	if err != nil {
		t.Fatal(err)
	}
	other, err := emulator.New(emulator.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(roots, other.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", roots)
	if err := writeFiles(dir, e, readyLine{}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, bundleFile))
	if err != nil || string(got) != string(other.CA())+string(e.CA()) {
		t.Errorf("bundle: %v\n%s", err, got)
	}
	t.Setenv("SSL_CERT_FILE", filepath.Join(dir, bundleFile))
	for _, next := range []string{dir, t.TempDir()} {
		if bytes.Contains(systemRoots(next), e.CA()) {
			t.Error("an emulator's bundle counts as the system's")
		}
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tests := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"help", []string{"--help"}, exitOK, "az login --service-principal"},
		{"unknown flag", []string{"--sed", "x"}, exitUsage, "flag provided but not defined: -sed; see azwi-emulator -help"},
		{"argument", []string{"start"}, exitUsage, `unexpected argument "start"`},
		{"remote", []string{"--listen", "0.0.0.0:0"}, exitUsage, "-listen: 0.0.0.0:0 is not loopback"},
		{"remote proxy", []string{"--proxy-listen", ":0"}, exitUsage, "-proxy-listen: :0 is not loopback"},
		{"no port", []string{"--admin-listen", "127.0.0.1"}, exitUsage, "-admin-listen: address 127.0.0.1: missing port"},
		{"no seed", append(freePorts(), "--dir", dir, "--seed", filepath.Join(dir, "none")), exitFailed, "read seed: open "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			if code := run(tt.args, nil, &stdout, &stderr); code != tt.code || !strings.Contains(stderr.String(), tt.want) {
				t.Errorf("exit %d, want %d:\n%s", code, tt.code, stderr.String())
			}
			if stdout.Len() > 0 {
				t.Errorf("stdout: %s", stdout.String())
			}
		})
	}
}

func TestRemoteHostsAreCertified(t *testing.T) {
	t.Parallel()
	o, err := parse([]string{"--insecure-allow-remote", "--listen", "192.0.2.1:0", "--proxy-listen", "0.0.0.0:0", "--host", "emulator.test"}, io.Discard)
	if err != nil || !slices.Equal(o.hosts, []string{"emulator.test", "192.0.2.1"}) {
		t.Errorf("hosts %v, %v", o.hosts, err)
	}
}

// BenchmarkStart measures the time from exec to the ready line, and what the
// process then occupies.
func BenchmarkStart(b *testing.B) {
	for _, credentials := range []int{0, 100_000} {
		b.Run(fmt.Sprintf("credentials=%d", credentials), func(b *testing.B) {
			args := freePorts()
			if credentials > 0 {
				seed := filepath.Join(b.TempDir(), "seed.yaml")
				if err := os.WriteFile(seed, []byte(manyCredentials(credentials)), 0o600); err != nil {
					b.Fatal(err)
				}
				args = append(args, "--seed", seed)
			}
			var resident float64
			for range b.N {
				cmd := command(b.Context(), append(args, "--dir", b.TempDir())...)
				out, err := cmd.StdoutPipe()
				if err != nil {
					b.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					b.Fatal(err)
				}
				var ready readyLine
				if err := json.NewDecoder(out).Decode(&ready); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				time.Sleep(3 * time.Second) //nolint:forbidigo // a measurement: the state is written, garbage collected
				resident = max(resident, residentMiB(b, cmd.Process.Pid))
				_ = cmd.Process.Signal(syscall.SIGTERM)
				if err := cmd.Wait(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N), "ms-to-ready")
			b.ReportMetric(resident, "MiB-resident")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func manyCredentials(n int) string {
	var b strings.Builder
	b.WriteString("managedIdentities:\n")
	for i := range n {
		if i%20 == 0 {
			fmt.Fprintf(&b, "- name: identity-%d\n  federatedCredentials:\n", i)
		}
		fmt.Fprintf(&b, "  - {name: fic-%d, issuer: \"https://cluster.example\", subject: \"system:serviceaccount:ns:sa-%d\"}\n", i, i)
	}
	return b.String()
}

// residentMiB reads VmRSS of a process.
func residentMiB(b *testing.B, pid int) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Skip("no /proc here")
	}
	for line := range strings.Lines(string(status)) {
		var kib float64
		if n, _ := fmt.Sscanf(line, "VmRSS: %f kB", &kib); n == 1 {
			return kib / 1024
		}
	}
	return 0
}
