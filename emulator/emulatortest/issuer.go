package emulatortest

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"azwi/contract"
)

// An Issuer signs service account tokens as a cluster's API server does, and
// publishes its discovery document and keys on loopback, where the emulator
// fetches them without further settings.
type Issuer struct {
	// URL is the issuer's.
	URL string
	// Key signs.
	Key *rsa.PrivateKey
	// KeyID names the key.
	KeyID string
}

// NewIssuer starts an issuer that ends with the test.
func NewIssuer(t testing.TB) *Issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &Issuer{Key: key, KeyID: "test"}
	mux := http.NewServeMux()
	serve := func(v func() any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(v())
		}
	}
	mux.Handle("GET /.well-known/openid-configuration", serve(func() any {
		return map[string]any{
			"issuer": i.URL, "jwks_uri": i.URL + "/openid/v1/jwks", "response_types_supported": []string{"id_token"},
			"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"},
		}
	}))
	mux.Handle("GET /openid/v1/jwks", serve(func() any { return i.JWKS() }))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	i.URL = server.URL
	return i
}

// JWKS is the issuer's public key set.
func (i *Issuer) JWKS() jose.JSONWebKeySet {
	return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.Key.Public(), KeyID: i.KeyID, Algorithm: string(jose.RS256), Use: "sig"}}}
}

// Token is the token of a service account, for the audience of workload
// identity, valid for an hour from now. claims replace single claims; one that
// is nil is left out.
func (i *Issuer) Token(t testing.TB, namespace, serviceAccount string, claims map[string]any) string {
	t.Helper()
	now := time.Now()
	all := map[string]any{
		"iss": i.URL, "sub": contract.Subject(namespace, serviceAccount), "aud": []string{contract.DefaultAudience},
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"kubernetes.io": map[string]any{"namespace": namespace, "serviceaccount": map[string]string{"name": serviceAccount}},
	}
	maps.Copy(all, claims)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	payload, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: i.Key, KeyID: i.KeyID}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
