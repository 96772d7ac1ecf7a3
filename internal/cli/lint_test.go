package cli

import (
	"bytes"
	"strings"
	"testing"
)

func TestLintExitCodes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		stdin string
		args  []string
		want  int
	}{
		{labelledPod, nil, ExitOK},
		{labelledPod, []string{"--fail-on", "info"}, ExitDifferent},
		{"a: [", nil, ExitDifferent},
		{"a: [", []string{"--fail-on", "none"}, ExitOK},
		{"a: [", []string{"--disable", "syntax"}, ExitOK},
		{"", []string{"--output", "xml"}, ExitError},
	} {
		var out, log bytes.Buffer
		args := append([]string{"lint", "-f", "-"}, test.args...)
		if code := Run(t.Context(), args, Streams{In: strings.NewReader(test.stdin), Out: &out, Err: &log}, func(string) string { return "" }); code != test.want {
			t.Errorf("%q %v: code %d, want %d\n%s%s", test.stdin, test.args, code, test.want, &out, &log)
		}
	}
}
