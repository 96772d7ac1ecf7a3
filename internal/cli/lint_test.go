package cli

import (
	"bytes"
	"strings"
	"testing"

	"azwi/internal/cli/command"
)

func TestLintExitCodes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		stdin string
		args  []string
		want  int
	}{
		{labelledPod, nil, command.ExitOK},
		{labelledPod, []string{"--fail-on", "info"}, command.ExitDifferent},
		{"a: [", nil, command.ExitDifferent},
		{"a: [", []string{"--fail-on", "none"}, command.ExitOK},
		{"a: [", []string{"--disable", "syntax"}, command.ExitOK},
		{"", []string{"--output", "xml"}, command.ExitError},
	} {
		var out, log bytes.Buffer
		args := append([]string{"lint", "-f", "-"}, test.args...)
		if code := Run(t.Context(), args, command.Streams{In: strings.NewReader(test.stdin), Out: &out, Err: &log}, func(string) string { return "" }); code != test.want {
			t.Errorf("%q %v: code %d, want %d\n%s%s", test.stdin, test.args, code, test.want, &out, &log)
		}
	}
}
