package spelling_test

import (
	"testing"

	"azwi/internal/spelling"
)

func TestNearest(t *testing.T) {
	t.Parallel()
	roles := []string{"Owner", "Reader", "Key Vault Secrets Officer", "Key Vault Secrets User", "Key Vault Crypto User"}
	for word, want := range map[string]string{
		"Reder": "Reader", "reader": "Reader", "Key Vault Secret User": "Key Vault Secrets User", "KeyVault SecretsUser": "Key Vault Secrets User",
		"Ownership of all": "", "": "", "xyz": "",
	} {
		if got := spelling.Nearest(word, roles); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		a, b       string
		most, want int
	}{{"", "", 2, 0}, {"kitten", "sitting", 5, 3}, {"abc", "", 2, 3}, {"ab", "ba", 2, 2}} {
		if got := spelling.Distance(test.a, test.b, test.most); got != test.want {
			t.Errorf("%q to %q: %d, want %d", test.a, test.b, got, test.want)
		}
	}
}
