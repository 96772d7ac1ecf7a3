package accesstoken

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"math/big"
	"testing"
	"time"
)

// crypto/rsa accepts every signature, so any client does.
func TestSignaturesAreRSA(t *testing.T) {
	t.Parallel()
	for range 3 {
		key, err := generateRSA()
		if err != nil {
			t.Fatal(err)
		}
		public, ok := key.Public().(*rsa.PublicKey)
		if !ok || public.Size() != 256 || public.E != 65537 {
			t.Fatalf("public key %v", key.Public())
		}
		for i := range 50 {
			digest := sha256.Sum256([]byte{byte(i)})
			signature, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
			if err != nil {
				t.Fatal(err)
			}
			if err := rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], signature); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestOtherSignaturesAreRefused(t *testing.T) {
	t.Parallel()
	key, err := generateRSA()
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(nil)
	for name, opts := range map[string]crypto.SignerOpts{"SHA-512": crypto.SHA512, "PSS": &rsa.PSSOptions{Hash: crypto.SHA256}} {
		if _, err := key.Sign(rand.Reader, digest[:], opts); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := key.Sign(rand.Reader, digest[:5], crypto.SHA256); err == nil {
		t.Error("short digest: no error")
	}
}

func TestKeyIsKept(t *testing.T) {
	t.Parallel()
	made, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(made)
	if err != nil {
		t.Fatal(err)
	}
	var read Key
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	raw, err := New(made, time.Now).Mint(Claims{Audience: "a"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := New(&read, time.Now).Verify(raw); err != nil || c.Audience != "a" {
		t.Errorf("%+v, %v", c, err)
	}
	other, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(other, time.Now).Verify(raw); err == nil {
		t.Error("another key accepts it")
	}
	for name, s := range map[string]stored{
		"no primes":      {Certificate: made.cert.Raw},
		"null":           {Primes: []*big.Int{nil}, Certificate: made.cert.Raw},
		"not primes":     {Primes: []*big.Int{big.NewInt(4)}, Certificate: made.cert.Raw},
		"too short":      {Primes: []*big.Int{big.NewInt(7)}, Certificate: made.cert.Raw},
		"another's":      {Primes: other.private.primes(), Certificate: made.cert.Raw},
		"no certificate": {Primes: made.private.primes()},
	} {
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, new(Key)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// BenchmarkSign compares the key with crypto/rsa's of two primes.
func BenchmarkSign(b *testing.B) {
	four, err := generateRSA()
	if err != nil {
		b.Fatal(err)
	}
	two, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256(nil)
	for name, key := range map[string]crypto.Signer{"primes=4": four, "primes=2": two} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := key.Sign(rand.Reader, digest[:], crypto.SHA256); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
