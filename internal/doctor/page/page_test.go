package page_test

import (
	"bytes"
	"strings"
	"testing"

	"azwi/internal/doctor/page"
	"azwi/internal/finding"
)

// TestHostileNames: what a cluster's objects say can't end the script that holds it, nor be
// taken for a part of the page.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	for _, hostile := range []string{"</script><script>alert(1)</script>", "<!--", "$SCRIPT", "$DATA", "\u2028"} {
		html, err := page.Page{
			Facts:      hostile,
			Accounts:   []page.Account{{Namespace: "shop", Name: hostile, Findings: []finding.Finding{finding.ClientIDNotGUID("shop/orders", hostile)}}},
			Identities: []page.Identity{{Name: hostile}},
		}.HTML()
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(html, []byte("<script")); n != 2 || bytes.Count(html, []byte("</script>")) != 2 || bytes.Contains(html, []byte("<!--")) {
			t.Errorf("%q: %d scripts", hostile, n)
		}
	}
}

// TestPolicy: the page loads nothing.
func TestPolicy(t *testing.T) {
	t.Parallel()
	html, err := page.Page{}.HTML()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"default-src 'none'", "script-src 'sha256-", `"accounts":[]`, `"identities":[]`} {
		if !bytes.Contains(html, []byte(want)) {
			t.Errorf("the page has no %s", want)
		}
	}
	for _, never := range []string{"src=", "href=", "url(", "@import", "unsafe", "innerHTML"} {
		if strings.Contains(string(html), never) {
			t.Errorf("the page has %s", never)
		}
	}
}
