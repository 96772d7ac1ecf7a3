package federation_test

import (
	"testing"

	"azwi/internal/identity/federation"
)

// The names were computed by another program (sha256sum, base64) from the rules
// in docs/contract.md.
func TestNames(t *testing.T) {
	t.Parallel()
	const issuer = "https://issuer.example.com/"
	for want, got := range map[string]string{
		"shop-orders-YMVMRxRdbI8mBAkR_CyGJ5C0aj9YyGn8XgWBWHqPZC8=":         federation.ApplicationName("shop", "orders", issuer),
		"NkIVMLE3WD4-8Bkwsow6WwLH-0rWrzwznYoJfTLKwAI=":                     federation.CredentialName("shop", "orders", issuer),
		"36421530b137583e3ef01930b28c3a5b02c7fb4ad6af3c339d8a097d32cac002": federation.ManagedCredentialName("shop", "orders", issuer),
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestParseSubject(t *testing.T) {
	t.Parallel()
	if namespace, account, ok := federation.ParseSubject("system:serviceaccount:shop:orders.v2"); !ok || namespace != "shop" || account != "orders.v2" {
		t.Error(namespace, account, ok)
	}
	for _, subject := range []string{
		"", "repo:o/r:ref", "system:serviceaccount:", "system:serviceaccount:a", "system:serviceaccount:a:", "system:serviceaccount::b",
		"system:serviceaccount:a:b:c", "system:serviceaccount:A:b", "system:serviceaccount:a.b:c", "system:serviceaccount:a:-b", "System:serviceaccount:a:b",
	} {
		if _, _, ok := federation.ParseSubject(subject); ok {
			t.Errorf("%q is taken", subject)
		}
	}
}
