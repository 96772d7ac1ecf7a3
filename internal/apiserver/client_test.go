package apiserver

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWarnings(t *testing.T) {
	t.Parallel()
	got := parseWarnings([]string{`299 - "a \"quoted\" text"`, `110 - "stale"`, `299 - `, `299 - "b"`})
	if diff := cmp.Diff([]string{`a "quoted" text`, "b"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestStatusErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		body string
		want StatusError
	}{
		{`{"kind":"Status","message":"pods \"a\" not found","reason":"NotFound"}`, StatusError{404, "NotFound", `pods "a" not found`}},
		{`<html>`, StatusError{404, "", "404 Not Found"}},
	} {
		if diff := cmp.Diff(test.want, *statusError(404, []byte(test.body))); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAtLeast(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{"v1.31.9": false, "v1.32.0": true, "v1.32.4-gke.1415000": true, "v1.37.2": true, "v2.0.0": true, "v1.9.0": false} {
		if got, err := atLeast(version, 32); err != nil || got != want {
			t.Errorf("%s: %v, %v", version, got, err)
		}
	}
	if _, err := atLeast("unknown", 32); err == nil {
		t.Error("no error for no version")
	}
}
