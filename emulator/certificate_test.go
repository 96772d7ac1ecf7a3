package emulator_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"azwi/emulator"
	"azwi/emulator/emulatortest"
)

// awkwardCertificate is one whose thumbprints differ in the two alphabets of
// base64.
func awkwardCertificate(t *testing.T, key *rsa.PrivateKey, until time.Time) []byte {
	t.Helper()
	for serial := int64(1); ; serial++ {
		template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "client"}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		one, two := sha1.Sum(der), sha256.Sum256(der)
		encode := base64.StdEncoding.EncodeToString
		if strings.ContainsAny(encode(one[:]), "+/") && strings.ContainsAny(encode(two[:]), "+/") {
			return der
		}
	}
}

func TestClientCertificate(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	good := awkwardCertificate(t, key, time.Now().Add(time.Hour))
	old := awkwardCertificate(t, key, time.Now().Add(-time.Hour))
	var pems []string
	for _, der := range [][]byte{good, old} {
		text, err := json.Marshal(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
		if err != nil {
			t.Fatal(err)
		}
		pems = append(pems, "{pem: "+string(text)+"}")
	}
	cloud := emulatortest.Start(t, emulator.Config{Seed: []byte(fmt.Sprintf("applications: [{name: web, appId: %s, certificates: [%s]}]", webAppID, strings.Join(pems, ", ")))})

	endpoint := cloud.AuthorityURL + v2Token
	one, two, expired := sha1.Sum(good), sha256.Sum256(good), sha1.Sum(old)
	tests := []struct {
		name   string
		alg    jose.SignatureAlgorithm
		header jose.HeaderKey
		print  string
		claims map[string]any
		code   int
	}{
		{name: "RS256, x5t", alg: jose.RS256, header: "x5t", print: base64.RawURLEncoding.EncodeToString(one[:])},
		{name: "RS256, x5t in plain base64", alg: jose.RS256, header: "x5t", print: base64.StdEncoding.EncodeToString(one[:])},
		{name: "PS256, x5t#S256", alg: jose.PS256, header: "x5t#S256", print: base64.RawURLEncoding.EncodeToString(two[:])},
		{name: "PS256, x5t#S256 in plain base64", alg: jose.PS256, header: "x5t#S256", print: base64.StdEncoding.EncodeToString(two[:])},
		{name: "audience by another name", alg: jose.PS256, header: "x5t#S256", print: base64.StdEncoding.EncodeToString(two[:]),
			claims: map[string]any{"aud": "https://login.microsoftonline.com/" + emulator.DefaultTenantID + "/oauth2/v2.0/token"}},
		{name: "unknown thumbprint", alg: jose.RS256, header: "x5t", print: "AAAA", code: 700027},
		{name: "expired certificate", alg: jose.RS256, header: "x5t", print: base64.RawURLEncoding.EncodeToString(expired[:]), code: 700027},
		{name: "RS384", alg: jose.RS384, header: "x5t", print: base64.RawURLEncoding.EncodeToString(one[:]), code: 5002738},
		{name: "foreign audience", alg: jose.RS256, header: "x5t", print: base64.RawURLEncoding.EncodeToString(one[:]), claims: map[string]any{"aud": "https://example.com/token"}, code: 700023},
		{name: "audience of another tenant", alg: jose.RS256, header: "x5t", print: base64.RawURLEncoding.EncodeToString(one[:]), claims: map[string]any{"aud": cloud.AuthorityURL + webAppID + "/oauth2/v2.0/token"}, code: 700023},
		{name: "expired", alg: jose.RS256, header: "x5t", print: base64.RawURLEncoding.EncodeToString(one[:]), claims: map[string]any{"exp": 1000, "nbf": 1}, code: 700024},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			claims := map[string]any{"iss": webAppID, "sub": webAppID, "aud": endpoint, "exp": time.Now().Add(time.Minute).Unix(), "nbf": time.Now().Unix()}
			maps.Copy(claims, tt.claims)
			payload, err := json.Marshal(claims)
			if err != nil {
				t.Fatal(err)
			}
			raw := signed(t, jose.SigningKey{Algorithm: tt.alg, Key: key}, (&jose.SignerOptions{}).WithHeader(tt.header, tt.print), payload)
			got := post(t, cloud, v2Token, exchange(webAppID, raw))
			switch {
			case tt.code == 0 && got.Status != 200:
				t.Errorf("refused: %+v", got)
			case tt.code == 0 && claimsOf(t, got.AccessToken)["appidacr"] != "2":
				t.Error("appidacr is not 2")
			case tt.code != 0 && (len(got.Codes) != 1 || got.Codes[0] != tt.code):
				t.Errorf("got %d %v, want %d", got.Status, got.Codes, tt.code)
			}
		})
	}
}
