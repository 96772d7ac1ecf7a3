package entra

import (
	"encoding/json"

	"azwi/internal/finding"
	"azwi/internal/jwt"
)

// presented reads the claims of the request's assertion. Those that can't be read are
// empty.
func presented(r ExchangeRequest) finding.Presented {
	p := finding.Presented{ClientID: r.ClientID, TenantID: r.TenantID}
	raw, err := jwt.Payload(r.Assertion)
	if err != nil {
		return p
	}
	var claims struct {
		Issuer   string          `json:"iss"`
		Subject  string          `json:"sub"`
		Audience json.RawMessage `json:"aud"`
	}
	if json.Unmarshal(raw, &claims) != nil {
		return p
	}
	p.Issuer, p.Subject = claims.Issuer, claims.Subject
	// aud is a string or a list (RFC 7519 section 4.1.3).
	var audiences []string
	var one string
	if json.Unmarshal(claims.Audience, &one) == nil {
		audiences = []string{one}
	} else if json.Unmarshal(claims.Audience, &audiences) != nil {
		audiences = nil
	}
	if len(audiences) > 0 {
		p.Audience = audiences[0]
	}
	return p.Showable()
}
