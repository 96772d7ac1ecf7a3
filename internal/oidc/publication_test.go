package oidc_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"azwi/internal/oidc"
)

// TestReadPublication reads what an issuer publishes, and tells what is wrong with it.
func TestReadPublication(t *testing.T) {
	t.Parallel()
	strong, err := rsa.GenerateKey(rand.Reader, 2048)
	strong = must(t, strong, err)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ec = must(t, ec, err)
	keys := func(public ...crypto.PublicKey) string {
		set, err := oidc.KeySet(public)
		raw, jsonErr := json.Marshal(set)
		return string(must(t, must(t, raw, jsonErr), err))
	}
	document := func(issuer string) string {
		return fmt.Sprintf(`{"issuer": %q, "jwks_uri": %q}`, issuer, issuer+"/keys")
	}
	for name, tt := range map[string]struct {
		serve   func(issuer string, w http.ResponseWriter, r *http.Request)
		problem oidc.PublicationProblem
		ids     int
		others  int
	}{
		"healthy": {serve: func(issuer string, w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/keys" {
				fmt.Fprint(w, keys(&strong.PublicKey, &ec.PublicKey))
				return
			}
			fmt.Fprint(w, document(issuer))
		}, ids: 1, others: 1},
		"a key that can't be read": {serve: func(issuer string, w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/keys" {
				fmt.Fprint(w, `{"keys": [{"kty": "RSA", "n": "!"}, 7]}`)
				return
			}
			fmt.Fprint(w, document(issuer))
		}, others: 2},
		"login page": {serve: func(_ string, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://login.example/", http.StatusFound)
		}, problem: oidc.Redirected},
		"not there": {serve: func(_ string, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, problem: oidc.NotServed},
		"a page":    {serve: func(_ string, w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, problem: oidc.NotDocument},
		"endless": {serve: func(_ string, w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write([]byte(strings.Repeat(" ", 1<<16))); err != nil {
					return
				}
			}
		}, problem: oidc.NotDocument},
		"keys over http": {serve: func(_ string, w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"issuer": "x", "jwks_uri": "http://10.0.0.1/keys"}`)
		}, problem: oidc.NotHTTPS},
		"keys not there": {serve: func(issuer string, w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/keys" {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			fmt.Fprint(w, document(issuer))
		}, problem: oidc.NotServed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var server *httptest.Server
			server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { tt.serve(server.URL, w, r) }))
			t.Cleanup(server.Close)
			got, err := oidc.ReadPublication(t.Context(), *server.Client(), server.URL)
			problem, _ := errors.AsType[*oidc.PublicationError](err)
			if (err == nil) != (tt.problem == 0) || problem != nil && problem.Problem != tt.problem {
				t.Fatalf("%v, want problem %d", err, tt.problem)
			}
			if err == nil && (got.Issuer != server.URL || len(got.KeyIDs) != tt.ids || got.Others != tt.others) {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestReadPublicationUnreachable names what the network says.
func TestReadPublicationUnreachable(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	for _, tt := range []struct {
		client  http.Client
		issuer  string
		problem oidc.PublicationProblem
		says    string
	}{
		{http.Client{}, server.URL, oidc.Unreachable, "certificate"},
		{*server.Client(), "http://issuer.example", oidc.NotHTTPS, "not an https URL"},
	} {
		_, err := oidc.ReadPublication(t.Context(), tt.client, tt.issuer)
		if problem, ok := errors.AsType[*oidc.PublicationError](err); !ok || problem.Problem != tt.problem || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", tt.issuer, err, tt.says)
		}
	}
}
