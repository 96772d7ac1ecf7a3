package clients

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// azwiExec is what stands before a client's command.
func (c *process) azwiExec(t *testing.T, more ...string) []string {
	t.Helper()
	args := []string{built.path(t, "azwi"), "exec", "--token-file", c.tokenFile, "--client-id", podID}
	return append(append(args, more...), "--")
}

// Clients that know nothing of azwi find its credentials, whatever form they ask
// in; the emulator is reached by the proxy, as the cloud would be directly.
func TestExecSDKs(t *testing.T) {
	t.Parallel()
	c := start(t)
	env := c.environment(t, false)
	want := result{Secret: greeting, Secrets: secretCount}
	for _, credential := range []string{"managed", "workload"} {
		args := append(c.azwiExec(t), built.path(t, "gosdk"), "-credential", credential, "-vault", proxyVault)
		if got := runJSON(t, env, args[0], args[1:]...); got != want {
			t.Errorf("Go, %s: got %+v, want %+v", credential, got, want)
		}
	}
}

// az is signed in without a word of it on the command line, and what the person
// had before is not touched.
func TestExecAz(t *testing.T) {
	t.Parallel()
	_, err := os.Stat(az)
	need(t, "azure-cli", err == nil)
	c := start(t)
	s := c.az(t, false)
	var own string
	for _, pair := range s.env {
		if dir, ok := strings.CutPrefix(pair, "AZURE_CONFIG_DIR="); ok {
			own = dir
		}
	}
	write(t, filepath.Join(own, "config"), []byte("[defaults]\ngroup = "+group+"\n"))
	execAz := func(args ...string) string {
		all := append(append(c.azwiExec(t), az), args...)
		return strings.TrimSpace(string(run(t, s.env, all[0], all[1:]...)))
	}
	if user := execAz("account", "show", "--query", "user.name", "--output", "tsv"); user != "systemAssignedIdentity" {
		t.Errorf("az is signed in as %q", user)
	}
	secret := execAz("rest", "--method", "get", "--url", proxyVault+"/secrets/greeting?api-version=7.3", "--resource", "https://vault.azure.net", "--query", "value", "--output", "tsv")
	if secret != greeting {
		t.Errorf("secret is %q", secret)
	}
	// The person's settings are there too.
	if value := execAz("config", "get", "defaults.group", "--query", "value", "--output", "tsv"); value != group {
		t.Errorf("the default group is %q", value)
	}
	if _, err := os.Stat(filepath.Join(own, "azureProfile.json")); err == nil {
		t.Error("az signed in in the person's own folder")
	}
	// From a shell, with --az-login.
	script := append(c.azwiExec(t, "--az-login"), "sh", "-c", az+" account get-access-token --resource https://vault.azure.net --query accessToken --output tsv")
	token := strings.TrimSpace(string(run(t, s.env, script[0], script[1:]...)))
	if !strings.HasPrefix(token, "eyJ") {
		t.Errorf("no token: %q", token)
	}
	// A wrong client ID ends before the command, with az's reason.
	wrong := c.azwiExec(t)
	wrong[slices.Index(wrong, podID)] = strings.ReplaceAll(podID, "3", "9")
	cmd := exec.CommandContext(t.Context(), wrong[0], append(wrong[1:], az, "account", "show")...)
	cmd.Env = s.env
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "sign az in: az login --identity") || !strings.Contains(string(out), "AADSTS700016") {
		t.Errorf("%v\n%s", err, out)
	}
}
