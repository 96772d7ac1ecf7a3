package page

import (
	"crypto/sha256"
	_ "embed" // for the page
	"encoding/base64"
	"encoding/json"
	"strings"

	"azwi/internal/finding"
)

var (
	//go:embed page.html
	html string
	//go:embed page.css
	style string
	//go:embed page.js
	script string
)

// A Page is what it shows.
type Page struct {
	// Facts is a line at the top.
	Facts      string     `json:"facts"`
	Accounts   []Account  `json:"accounts"`
	Identities []Identity `json:"identities"`
}

// An Account is a service account. Its identity is the one with its client ID.
type Account struct {
	Namespace string            `json:"namespace"`
	Name      string            `json:"name"`
	ClientID  string            `json:"clientId"`
	Pods      int               `json:"pods"`
	Findings  []finding.Finding `json:"findings"`
}

// An Identity has Used of Limit federated credentials. The limit is 0 where its credentials
// are not known, and the name may be empty.
type Identity struct {
	Name     string            `json:"name"`
	ClientID string            `json:"clientId"`
	Used     int               `json:"used"`
	Limit    int               `json:"limit"`
	Findings []finding.Finding `json:"findings"`
}

// HTML is the page. It loads nothing, and its policy allows its own script and style alone,
// so that no text in it can run.
func (p Page) HTML() ([]byte, error) {
	// Lists are never null for the script.
	p.Accounts, p.Identities = append([]Account{}, p.Accounts...), append([]Identity{}, p.Identities...)
	for i := range p.Accounts {
		p.Accounts[i].Findings = append([]finding.Finding{}, p.Accounts[i].Findings...)
	}
	for i := range p.Identities {
		p.Identities[i].Findings = append([]finding.Finding{}, p.Identities[i].Findings...)
	}
	data, err := json.Marshal(p) // which escapes <, > and &
	if err != nil {
		return nil, err
	}
	return []byte(strings.NewReplacer(
		"$STYLE_HASH", hash(style), "$SCRIPT_HASH", hash(script), "$STYLE", style, "$SCRIPT", script, "$DATA", string(data),
	).Replace(html)), nil
}

// hash is what a content security policy has of a script or a style.
// Source: https://www.w3.org/TR/CSP3/#grammardef-hash-source
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
