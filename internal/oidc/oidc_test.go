package oidc_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"azwi/internal/oidc"
)

func must[T any](t *testing.T, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func TestParsePublicKeys(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	key = must(t, key, err)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ec = must(t, ec, err)
	pkix, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	public := block("PUBLIC KEY", must(t, pkix, err))
	ecPKIX, err := x509.MarshalPKIXPublicKey(&ec.PublicKey)
	ecPublic := block("PUBLIC KEY", must(t, ecPKIX, err))
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	ecPKCS8, ecErr := x509.MarshalPKCS8PrivateKey(ec)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	certificate, certErr := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	for name, tt := range map[string]struct {
		text    string
		keys    []crypto.PublicKey
		private bool
		err     string
	}{
		"PKIX":               {public, []crypto.PublicKey{&key.PublicKey}, false, ""},
		"PKCS #1":            {block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&key.PublicKey)), []crypto.PublicKey{&key.PublicKey}, false, ""},
		"certificate":        {block("CERTIFICATE", must(t, certificate, certErr)), []crypto.PublicKey{&key.PublicKey}, false, ""},
		"two":                {"# comment\n" + public + ecPublic, []crypto.PublicKey{&key.PublicKey, &ec.PublicKey}, false, ""},
		"private PKCS #1":    {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)), []crypto.PublicKey{&key.PublicKey}, true, ""},
		"private PKCS #8":    {block("PRIVATE KEY", must(t, pkcs8, err)), []crypto.PublicKey{&key.PublicKey}, true, ""},
		"private EC":         {block("PRIVATE KEY", must(t, ecPKCS8, ecErr)), nil, false, "only RSA ones are read"},
		"private SEC 1":      {block("EC PRIVATE KEY", nil), nil, false, `"EC PRIVATE KEY" is not a public key`},
		"broken":             {block("PUBLIC KEY", []byte("x")), nil, false, `PEM block "PUBLIC KEY"`},
		"nothing":            {"", nil, false, "no public key"},
		"text without a PEM": {"ssh-rsa AAAA", nil, false, "no public key"},
	} {
		got, private, err := oidc.ParsePublicKeys([]byte(tt.text))
		same := slices.EqualFunc(got, tt.keys, func(a, b crypto.PublicKey) bool {
			equal, ok := a.(interface{ Equal(crypto.PublicKey) bool })
			return ok && equal.Equal(b)
		})
		if !same || private != tt.private || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %d keys, %t, %v", name, len(got), private, err)
		}
	}
}

// A key that is given twice is in the set once, with the algorithm that its kind signs with.
func TestKeySet(t *testing.T) {
	t.Parallel()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	key := &must(t, rsaKey, err).PublicKey
	ecKey, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	set, err := oidc.KeySet([]crypto.PublicKey{key, key, &must(t, ecKey, err).PublicKey})
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != 2 {
		t.Fatalf("%d keys: one of two equal ones is enough", len(set.Keys))
	}
	raw, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"alg":"RS256"`, `"alg":"ES384"`, `"use":"sig"`, `"e":"AQAB"`} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("%s is missing in %s", want, raw)
		}
	}
	if set.Keys[0].KeyID == set.Keys[1].KeyID || len(set.Keys[0].KeyID) != 43 {
		t.Errorf("key IDs %q, %q", set.Keys[0].KeyID, set.Keys[1].KeyID)
	}
	for _, refused := range []crypto.PublicKey{&ecdsa.PublicKey{Curve: elliptic.P224()}, "text"} {
		if _, err := oidc.KeySet([]crypto.PublicKey{refused}); err == nil || !strings.Contains(err.Error(), "not supported") {
			t.Errorf("%T: %v", refused, err)
		}
	}
}

func TestDecodeClaims(t *testing.T) {
	t.Parallel()
	claims, err := oidc.DecodeClaims("e30.eyJleHAiOjE3OTU4NTI4MDAsInN1YiI6ImEifQ.c2ln")
	if err != nil || claims["sub"] != "a" || claims["exp"] != json.Number("1795852800") {
		t.Errorf("%v, %v", claims, err)
	}
	for _, token := range []string{"", "a.b", "e30.!!.c2ln", "e30.W10.c2ln"} {
		if _, err := oidc.DecodeClaims(token); err == nil || token != "" && strings.Contains(err.Error(), token) {
			t.Errorf("%q: %v", token, err)
		}
	}
}

func FuzzParsePublicKeys(f *testing.F) {
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		keys, _, err := oidc.ParsePublicKeys(raw)
		if (err == nil) != (len(keys) > 0) {
			t.Errorf("%d keys, %v", len(keys), err)
		}
		if err == nil {
			_, _ = oidc.KeySet(keys)
		}
	})
}
