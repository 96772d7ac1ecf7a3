package finding_test

import (
	"strings"
	"testing"

	"azwi/internal/finding"
)

// TestDifference points at what people do not see.
func TestDifference(t *testing.T) {
	t.Parallel()
	const subject = "system:serviceaccount:shop:orders"
	for _, tt := range []struct{ credential, token, want string }{
		{subject, subject, ""},
		{"https://issuer/", "https://issuer", "the credential ends in a slash"},
		{"https://issuer", "https://issuer/", "the token ends in a slash"},
		{"http://issuer", "https://issuer", "begins with http,"},
		{"https://issuer/A", "https://issuer/a", "upper and lower case differ at character 16"},
		{subject + " ", subject, "begins or ends with a space"},
		{"system:serviceaccount:orders:shop", subject, "namespace and the name of the service account in the wrong order"},
		{"system:serviceaccount:shop:оrders", subject, "U+043E at character 28"},
		{"system:serviceaccount:shop :orders", subject, "U+0020) at character 27"},
		{"system:serviceaccount:shop:payments", subject, `they differ at character 28: "payments" in the credential, "orders" in the token`},
		{"system:serviceaccount:shop:order", subject, `they differ at character 33: nothing in the credential, "s" in the token`},
		{"", subject, `nothing in the credential`},
		{"\xff", "a", "not text at character 1"},
	} {
		if got := finding.Difference("the credential", tt.credential, tt.token); !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%q and %q: %q, want %q", tt.credential, tt.token, got, tt.want)
		}
	}
}

// FuzzDifference says something printable of any two texts that differ, and nothing of
// equal ones.
func FuzzDifference(f *testing.F) {
	f.Add("system:serviceaccount:shop:orders", "system:serviceaccount:orders:shop")
	f.Fuzz(func(t *testing.T, a, b string) {
		got := finding.Difference("it", a, b)
		if (got == "") != (a == b) || strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%q and %q: %q", a, b, got)
		}
	})
}
