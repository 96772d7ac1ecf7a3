package emulator_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"azwi/emulator"
	"azwi/emulator/emulatortest"
)

const perIdentity = 20

func manyClient(i int) string { return fmt.Sprintf("55555555-0000-4000-8000-%012d", i) }

// many is a seed with a number of credentials, as many on each identity as there
// may be.
func many(issuer string, credentials int) string {
	var b strings.Builder
	b.WriteString("managedIdentities:\n")
	for i := 0; i*perIdentity < credentials; i++ {
		fmt.Fprintf(&b, "- name: identity-%d\n  clientId: %s\n  federatedCredentials:\n", i, manyClient(i))
		for n := range min(perIdentity, credentials-i*perIdentity) {
			fmt.Fprintf(&b, "  - {name: fic-%d, issuer: %q, subject: \"system:serviceaccount:ns:sa-%d\"}\n", n, issuer, n)
		}
	}
	return b.String()
}

// BenchmarkExchange measures token exchanges on one core: run it with -cpu 1. It
// reports the rate, and its share of what crypto/rsa signs with RSA 2048 on the
// same core when it does nothing else. The share may exceed 100: the emulator's
// own key is of four primes.
func BenchmarkExchange(b *testing.B) {
	limit := signingRate(b)
	for _, credentials := range []int{10, 10_000} {
		issuer := emulatortest.NewIssuer(b)
		seed := many(issuer.URL, credentials)
		forms := make([]string, min(perIdentity, credentials))
		for n := range forms {
			forms[n] = issuer.Token(b, "ns", fmt.Sprintf("sa-%d", n), nil)
		}
		clients := (credentials + perIdentity - 1) / perIdentity
		body := func(i int) string { return exchange(manyClient(i%clients), forms[i/clients%len(forms)]).Encode() }
		report := func(b *testing.B) {
			rate := float64(b.N) / b.Elapsed().Seconds()
			b.ReportMetric(rate, "exchanges/s")
			b.ReportMetric(100*rate/limit, "%ofRSA")
			b.ReportMetric(0, "ns/op")
		}
		b.Run(fmt.Sprintf("handler/credentials=%d", credentials), func(b *testing.B) {
			e, err := emulator.New(emulator.Config{Seed: []byte(seed)})
			if err != nil {
				b.Fatal(err)
			}
			warm(b, e, body(0))
			for i := range b.N {
				w := httptest.NewRecorder()
				e.ServeHTTP(w, tokenRequest(body(i), emulator.DefaultTenantID))
				if w.Code != http.StatusOK {
					b.Fatalf("%d %s", w.Code, w.Body)
				}
			}
			report(b)
		})
		// The client and its half of TLS run on the same core.
		b.Run(fmt.Sprintf("loopback/credentials=%d", credentials), func(b *testing.B) {
			cloud := emulatortest.Start(b, emulator.Config{Seed: []byte(seed)})
			client := cloud.Client()
			defer client.CloseIdleConnections()
			warm(b, cloud.Emulator, body(0))
			for i := range b.N {
				resp, err := client.Post(cloud.AuthorityURL+v2Token, "application/x-www-form-urlencoded", strings.NewReader(body(i)))
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					b.Fatal(resp.Status)
				}
			}
			report(b)
		})
	}
}

// warm waits for the signing key and fetches the issuer's keys.
func warm(b *testing.B, e *emulator.Emulator, body string) {
	b.Helper()
	w := httptest.NewRecorder()
	e.ServeHTTP(w, tokenRequest(body, emulator.DefaultTenantID))
	if w.Code != http.StatusOK {
		b.Fatalf("%d %s", w.Code, w.Body)
	}
	b.ResetTimer()
}

// signingRate is how many RSA 2048 signatures this core makes in a second.
func signingRate(b *testing.B) float64 {
	b.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256([]byte("token"))
	n, start := 0, time.Now()
	for ; time.Since(start) < time.Second; n++ {
		if _, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:]); err != nil {
			b.Fatal(err)
		}
	}
	return float64(n) / time.Since(start).Seconds()
}

// BenchmarkRefusal measures everything but the signature of the answer: the
// assertion is verified, then its scope is refused.
func BenchmarkRefusal(b *testing.B) {
	issuer := emulatortest.NewIssuer(b)
	e, err := emulator.New(emulator.Config{Seed: []byte(many(issuer.URL, 10_000))})
	if err != nil {
		b.Fatal(err)
	}
	form := exchange(manyClient(7), issuer.Token(b, "ns", "sa-3", nil))
	warm(b, e, form.Encode())
	form.Set("scope", "no-default")
	body := form.Encode()
	for b.Loop() {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, tokenRequest(body, emulator.DefaultTenantID))
		var a tokenAnswer
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || a.Codes[0] != 1002012 {
			b.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "verifications/s")
}
