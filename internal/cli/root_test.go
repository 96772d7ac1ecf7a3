package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"azwi/internal/cli/command"
)

// azwi runs the command line in the test and returns what it did.
func azwi(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, log bytes.Buffer
	code = Run(t.Context(), args, command.Streams{In: strings.NewReader(""), Out: &out, Err: &log}, func(string) string { return "" })
	return code, out.String(), log.String()
}

func TestVersion(t *testing.T) {
	t.Parallel()
	code, out, _ := azwi(t, "version")
	if code != command.ExitOK || !strings.HasPrefix(out, "azwi ") {
		t.Errorf("code %d, output %q", code, out)
	}
	code, out, _ = azwi(t, "version", "--output", "json")
	var v struct{ Version, Platform string }
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != command.ExitOK || v.Version == "" || v.Platform == "" {
		t.Errorf("code %d, output %q, %v", code, out, err)
	}
}

func TestMistakesAreToldOnStandardError(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"no-such-command"}, {"version", "extra"}, {"version", "--output", "xml"}, {"--no-such-flag"}, {"policy", "genrate"}, {"completion", "tcsh"}} {
		code, out, log := azwi(t, args...)
		if code != command.ExitError || out != "" || !strings.HasPrefix(log, "azwi: ") {
			t.Errorf("azwi %v: code %d, stdout %q, stderr %q", args, code, out, log)
		}
	}
}

// TestColor: a flag decides, from where it stands on.
func TestColor(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]string{
		"--color=always": "\x1b[31mazwi: \x1b[0munknown flag",
		"--color=never":  "azwi: unknown flag",
		"--color=auto":   "azwi: unknown flag",
		"--color=red":    `azwi: invalid argument "red" for "--color" flag: use auto, always or never`,
	} {
		if _, _, log := azwi(t, "version", flag, "--nonsense"); !strings.HasPrefix(log, want) {
			t.Errorf("%s: %q", flag, log)
		}
	}
}

// TestInstallOffline: without a cluster, install --dry-run shows what it would apply.
func TestInstallOffline(t *testing.T) {
	t.Parallel()
	flags := []string{"--dry-run=client", "--tenant-id", "11111111-1111-1111-1111-111111111111", "--image-registry", "registry.example.com"}
	code, out, log := azwi(t, append([]string{"install"}, flags...)...)
	if code != command.ExitOK || !strings.Contains(out, "kind: MutatingWebhookConfiguration") || !strings.HasPrefix(log, "no cluster was asked: ") {
		t.Errorf("code %d, %s\n%.200s", code, log, out)
	}
	code, _, log = azwi(t, append([]string{"upgrade"}, flags...)...)
	if code != command.ExitError || !strings.Contains(log, "use --dry-run, or azwi install --dry-run=client") {
		t.Errorf("upgrade: code %d, %s", code, log)
	}
	if code, _, log = azwi(t, "install", "--dry-run=maybe"); code != command.ExitError || !strings.Contains(log, "use client or server") {
		t.Errorf("code %d, %s", code, log)
	}
}
