package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"azwi/internal/cli/command"
)

func TestJWKS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, block string, der []byte) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: block, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	publics := []any{rsaKey.Public()}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		publics = append(publics, key.Public())
	}
	type entry struct{ KeyID, Algorithm, Use string }
	var files []string
	var want []entry
	for i, algorithm := range []string{"RS256", "ES256", "ES384", "ES512"} {
		der, err := x509.MarshalPKIXPublicKey(publics[i])
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(der)
		files = append(files, write(algorithm, "PUBLIC KEY", der))
		want = append(want, entry{base64.RawURLEncoding.EncodeToString(sum[:]), algorithm, "sig"})
	}
	// The same key in another form counts once.
	files = append(files, write("pkcs1", "RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey)))
	out := filepath.Join(dir, "jwks.json")
	if code, stdout, stderr := azwi(t, "jwks", "--public-keys", strings.Join(files, ","), "--output-file", out); code != command.ExitOK || stdout != "" {
		t.Fatalf("code %d, %s%s", code, stdout, stderr)
	}
	raw, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(raw, &set); err != nil {
		t.Fatal(err)
	}
	var got []entry
	for i, key := range set.Keys {
		got = append(got, entry{key.KeyID, key.Algorithm, key.Use})
		if !key.Valid() || !key.IsPublic() {
			t.Errorf("key %d is not valid", i)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	// Entra takes RSA only, and says so where an EC key is published alone.
	for i, want := range []int{0, 1, 1, 1} {
		code, stdout, stderr := azwi(t, "jwks", "--public-keys", files[i])
		if code != command.ExitOK || !json.Valid([]byte(stdout)) || strings.Count(stderr, "AADSTS5002738") != want || want > 0 && !strings.Contains(stderr, files[i]) {
			t.Errorf("%s: code %d, %q, %q", files[i], code, stdout, stderr)
		}
	}

	// Of a private key the public half is published, with a warning. Empty arguments are those of a script.
	pkcs8, err := x509.MarshalPKCS8PrivateKey(rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, private := range []string{write("private1", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), write("private8", "PRIVATE KEY", pkcs8)} {
		code, stdout, stderr := azwi(t, "jwks", "--public-keys", private+",", "")
		var set jose.JSONWebKeySet
		if err := json.Unmarshal([]byte(stdout), &set); err != nil || code != command.ExitOK {
			t.Fatalf("code %d, %v, %s%s", code, err, stdout, stderr)
		}
		if len(set.Keys) != 1 || !set.Keys[0].IsPublic() || set.Keys[0].KeyID != want[0].KeyID || strings.Contains(stdout, `"d"`) || !strings.Contains(stderr, "has a private key") {
			t.Errorf("%s%s", stdout, stderr)
		}
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec8, err := x509.MarshalPKCS8PrivateKey(ecKey)
	if err != nil {
		t.Fatal(err)
	}
	private := write("private-ec", "PRIVATE KEY", ec8)
	for _, args := range [][]string{
		{"jwks"}, {"jwks", "--public-keys", filepath.Join(dir, "missing")},
		{"jwks", "--public-keys", private}, {"jwks", "--public-keys", ""}, {"jwks", "--public-keys", out},
	} {
		if code, stdout, stderr := azwi(t, args...); code != command.ExitError || stdout != "" || !strings.Contains(stderr, "public") {
			t.Errorf("%v: code %d, %q, %q", args, code, stdout, stderr)
		}
	}
}
