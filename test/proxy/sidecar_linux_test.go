package proxy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const localURL = "http://127.0.0.1:8000/metadata/identity/oauth2/token?api-version=2018-02-01&resource=" + resource

// served asks the sidecar on loopback and returns the token and the whole answer.
func (p *pod) served(t *testing.T, extra string) (token, answer string) {
	t.Helper()
	out, errOut, code := p.client(t, appUID, "http", localURL+extra)
	if code != 0 {
		t.Fatalf("%d %s\n%s", code, errOut, p.log)
	}
	return decodeAnswer(t, out).AccessToken, out
}

// Ways to Entra other than straight.
func TestWaysToEntra(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]func(p *pod) []string{
		"custom token endpoint": func(p *pod) []string {
			return []string{"AZURE_AUTHORITY_HOST=", "AZURE_KUBERNETES_TOKEN_PROXY=" + p.cloud.AuthorityURL + "binding", "AZURE_KUBERNETES_SNI_NAME=localhost", "AZURE_KUBERNETES_CA_FILE=" + filepath.Join(p.dir, "ca.crt")}
		},
		"HTTPS_PROXY": func(p *pod) []string {
			return []string{"AZURE_AUTHORITY_HOST=https://login.microsoftonline.com/", "HTTPS_PROXY=" + p.cloud.ProxyURL}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPod(t)
			p.extraEnv = env(p)
			p.serve(t, proxyUID)
			if token, answer := p.served(t, ""); !isOurs(t, token) {
				t.Errorf("%s\n%s", answer, p.log)
			}
		})
	}
}

const noEntra = `{"faults":[{"service":"authority","status":503}]}`

// A container that restarts while Entra is down serves what it had.
func TestCacheFileOverARestart(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	folder := filepath.Join(p.dir, "cache")
	check(t, os.Mkdir(folder, 0o700))
	check(t, os.Chown(folder, proxyUID, proxyUID))
	file := "--cache-file=" + filepath.Join(folder, "tokens")
	p.serve(t, proxyUID, file)
	before, _ := p.served(t, "")
	check(t, p.cloud.SetFaults([]byte(noEntra)))
	p.stop(t)
	p.serve(t, proxyUID, file)
	if after, answer := p.served(t, ""); after != before || after == "" {
		t.Errorf("%s", answer)
	}
	p.stop(t)
	p.serve(t, proxyUID)
	if _, answer := p.served(t, ""); !strings.Contains(answer, "temporarily_unavailable") {
		t.Errorf("without the file: %s", answer)
	}
	if strings.Contains(p.log.String(), "eyJ") {
		t.Error("the log holds a token")
	}
}

// The kubelet replaces the token file; each exchange reads what is there.
func TestTokenFileReplaced(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	good, err := os.ReadFile(p.tokenFile)
	check(t, err)
	p.serve(t, proxyUID)
	for _, step := range []struct{ name, content, resource, want string }{
		{"truncated", string(good[:len(good)/2]), "https://a.example", "no usable service account token"},
		{"of another service account", p.issuer.Token(t, "default", "other", nil), "https://b.example", "AADSTS700213"},
	} {
		check(t, os.WriteFile(p.tokenFile, []byte(step.content), 0o644))
		out, _, _ := p.client(t, appUID, "http", strings.Replace(localURL, resource, step.resource, 1))
		if !strings.Contains(out, step.want) {
			t.Errorf("%s: %s", step.name, out)
		}
	}
	check(t, os.Remove(p.tokenFile))
	if out, _, _ := p.client(t, appUID, "http", "http://127.0.0.1:8000/readyz"); !strings.Contains(out, "not_ready") {
		t.Errorf("ready without a token file: %s", out)
	}
	check(t, os.WriteFile(p.tokenFile, good, 0o644))
	if out, _, _ := p.client(t, appUID, "http", "http://127.0.0.1:8000/readyz"); out != "ok\n" {
		t.Errorf("%s", out)
	}
}

// The probe holds the application's start until there is a token, or says why
// there is none.
func TestWaitForToken(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	check(t, p.cloud.SetFaults([]byte(noEntra)))
	p.serve(t, proxyUID)
	wait := func(d string) (string, int) {
		_, errOut, code := p.run(exec.CommandContext(t.Context(), p.proxy, "--probe", "--wait-for-token="+d))
		return errOut, code
	}
	if errOut, code := wait("1500ms"); code != 1 || !strings.Contains(errOut, "there is no token") {
		t.Errorf("%d %s", code, errOut)
	}
	timer := time.AfterFunc(500*time.Millisecond, func() {
		if err := p.cloud.SetFaults([]byte("{}")); err != nil {
			t.Error(err)
		}
	})
	defer timer.Stop()
	if errOut, code := wait("1m"); code != 0 || errOut != "" {
		t.Errorf("%d %s", code, errOut)
	}
}

func TestMetricsPort(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.serve(t, proxyUID, "--metrics-addr=127.0.0.1:9000", "--block-imds")
	p.served(t, "")
	p.served(t, "&client_id=99999999-0000-4000-8000-000000000009")
	out, _, _ := p.client(t, appUID, "http", "http://127.0.0.1:9000/metrics")
	for _, line := range []string{`requests_total{outcome="ok"} 1`, `requests_total{outcome="permanent"} 1`, `exchange_errors_total{code="700016"} 1`, "token_expiry_seconds 863"} {
		if !strings.Contains(out, line) {
			t.Errorf("no %s in:\n%s", line, out)
		}
	}
	if strings.Contains(out, "eyJ") {
		t.Error("the metrics hold a token")
	}
}

// Mistakes are told together, before anything is served.
func TestMistakesInTheSettings(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), proxyBinary(t), "--identity=nonsense", "--compat=v9", "--allow-client-id=a/b", "stray")
	cmd.Env = []string{"AZURE_KUBERNETES_SNI_NAME=x"}
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 2 {
		t.Errorf("%v", err)
	}
	for _, part := range []string{"AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE", `identity "nonsense"`, `--compat "v9"`, `--allow-client-id "a/b"`, `"stray"`} {
		if !strings.Contains(string(out), part) {
			t.Errorf("no %s in:\n%s", part, out)
		}
	}
}

// A sidecar that nobody waits for ends at once. TestTermination is about those who
// wait.
func TestEndsCleanly(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.serve(t, proxyUID)
	p.served(t, "")
	start := time.Now()
	p.stop(t)
	if took := time.Since(start); took > 8*time.Second {
		t.Errorf("the end took %s", took)
	}
	if !strings.Contains(p.log.String(), `"msg":"ended"`) {
		t.Errorf("%s", p.log)
	}
}
