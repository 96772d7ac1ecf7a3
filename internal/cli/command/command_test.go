package command

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"azwi/internal/identity/federation"
)

func TestFinish(t *testing.T) {
	t.Parallel()
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for _, test := range []struct {
		name string
		ctx  context.Context
		err  error
		code int
		says string
	}{
		{"success", t.Context(), nil, ExitOK, ""},
		{"failure", t.Context(), errors.New("no"), ExitError, "azwi: no\n"},
		{"a code of its own", t.Context(), Exit(ExitDifferent, errors.New("2 differences")), ExitDifferent, "azwi: 2 differences\n"},
		{"nothing to say", t.Context(), Exit(7, nil), 7, ""},
		{"interrupted", stopped, context.Canceled, ExitInterrupted, "azwi: interrupted: run the same command again to go on\n"},
		{"interrupted, which says how to go on", stopped, federation.NewInterrupted(2, 3, "changes are made", context.Canceled), ExitInterrupted, "azwi: interrupted: 2 of 3 changes are made; run the same command again for the rest\n"},
		{"interrupted, with a code of its own", stopped, Exit(7, nil), 7, ""},
		{"interrupted after its end", stopped, nil, ExitOK, ""},
	} {
		var out, said bytes.Buffer
		env := New(Streams{Out: &out, Err: &said}, func(string) string { return "" })
		if code := env.Finish(test.ctx, test.err); code != test.code || said.String() != test.says {
			t.Errorf("%s: code %d, %q; want %d, %q", test.name, code, said.String(), test.code, test.says)
		}
	}
}

// TestConsent: without a terminal only --yes does.
func TestConsent(t *testing.T) {
	t.Parallel()
	env := New(Streams{In: strings.NewReader("y\n"), Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}, func(string) string { return "" })
	var none Consent
	if err := none.Ask(t.Context(), env, "Remove it?"); err == nil || !strings.Contains(err.Error(), "--yes") {
		t.Errorf("no terminal: %v", err)
	}
	given := Consent{yes: true}
	if err := given.Ask(t.Context(), env, "Remove it?"); err != nil {
		t.Errorf("--yes: %v", err)
	}
}
