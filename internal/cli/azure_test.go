package cli

import (
	"strings"
	"testing"

	"azwi/internal/cli/command"
)

func TestEndpointsAreHTTPS(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"--authority-host", "--graph-endpoint", "--resource-manager-endpoint"} {
		for _, url := range []string{"http://login.example.com", "login.example.com", "https://", "https://a@login.example.com", "https://login.example.com/?a=b"} {
			code, _, stderr := azwi(t, "federation", "list", flag, url, "--managed-identity", "web")
			if code != command.ExitError || !strings.Contains(stderr, flag) || !strings.Contains(stderr, "https") {
				t.Errorf("%s %s: code %d, %s", flag, url, code, stderr)
			}
		}
	}
}
