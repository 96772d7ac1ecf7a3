package kube

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
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
		{`{"kind":"Status","message":"pods \"a\" not found","reason":"NotFound"}`, StatusError{Code: 404, Reason: "NotFound", Message: `pods "a" not found`}},
		{`<html>`, StatusError{Code: 404, Message: "404 Not Found"}},
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

// connected is a client of a server, as a kubeconfig with a token makes it.
func connected(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	config := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],
		"clusters":[{"name":"c","cluster":{"server":%q}}],"users":[{"name":"u","user":{"token":"secret"}}]}`, s.URL)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Connect(Config{Kubeconfig: file})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// client-go gives its credentials to every host that a request goes to.
func TestRedirectsElsewhereAreNotFollowed(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("asked %s with %q", r.URL.Path, r.Header.Get("Authorization"))
	}))
	t.Cleanup(elsewhere.Close)
	c := connected(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/here":
			http.Redirect(w, r, "/end", http.StatusFound)
		case "/end":
			fmt.Fprint(w, `{}`)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		default:
			http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusTemporaryRedirect)
		}
	})
	if err := c.Get(t.Context(), "/here", new(any)); err != nil {
		t.Error(err)
	}
	for _, path := range []string{"/there", "/loop"} {
		if err := c.Get(t.Context(), path, new(any)); !errors.Is(err, ErrRedirect) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := c.Do(t.Context(), Request{Method: http.MethodPost, Path: "/there", Body: map[string]any{"a": 1}}, nil); !errors.Is(err, ErrRedirect) {
		t.Error(err)
	}
}

// A name of dots would be another path.
func TestNamesOfDotsAreNotSent(t *testing.T) {
	t.Parallel()
	c := connected(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("asked %s", r.URL.Path) })
	for _, name := range []string{".", ".."} {
		if err := c.Account(t.Context(), "shop", name, new(any)); err == nil || !strings.Contains(err.Error(), "no object is named") {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := c.Token(t.Context(), name, "orders", TokenRequest{Audience: "a"}); err == nil {
			t.Errorf("namespace %s: no error", name)
		}
	}
}

// Success without the account, and answers that end too early.
func TestAnswersThatAreNotTheAccount(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{}`: ErrOther.Error(), `{"metadata":{"namespace":"shop","name":"other"}}`: ErrOther.Error(),
		`{"metadata":{"namespace":"shop","name":"orders"}}`: "", `{"metadata":`: "unexpected end of JSON input",
		"cut": "the answer was cut off: unexpected EOF",
	} {
		c := connected(t, func(w http.ResponseWriter, _ *http.Request) {
			if body == "cut" {
				w.Header().Set("Content-Length", "100")
			}
			fmt.Fprint(w, body)
		})
		err := c.Account(t.Context(), "shop", "orders", new(any))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
}

// TestLogs: what is asked for, how much is read of an answer that is too long, and the right
// that a refusal is about.
func TestLogs(t *testing.T) {
	t.Parallel()
	asked := ""
	c := connected(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.String()
		if strings.Contains(r.URL.Path, "secret") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = w.Write([]byte("no JSON, and long"))
	})
	r := LogRequest{Namespace: "shop", Pod: "orders", Container: "app", Previous: true, Lines: 5, Bytes: 7}
	text, err := c.Logs(t.Context(), r)
	if err != nil || string(text) != "no JSON" || asked != "/api/v1/namespaces/shop/pods/orders/log?container=app&limitBytes=7&previous=true&tailLines=5" {
		t.Errorf("%q, %v, asked %s", text, err, asked)
	}
	r.Namespace = "secret"
	if _, err := c.Logs(t.Context(), r); !IsForbidden(err) || !strings.Contains(err.Error(), "get on pods/log in namespace secret") {
		t.Error(err)
	}
}
