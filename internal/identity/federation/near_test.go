package federation_test

import (
	"testing"

	"azwi/internal/identity/federation"
)

func TestNearest(t *testing.T) {
	t.Parallel()
	want := federation.Credential{Issuer: "https://issuer/", Subject: "system:serviceaccount:shop:orders", Audience: "api://AzureADTokenExchange"}
	with := func(name string, change func(*federation.Credential)) federation.Credential {
		c := want
		c.Name = name
		change(&c)
		return c
	}
	same := with("same", func(*federation.Credential) {})
	audience := with("audience", func(c *federation.Credential) { c.Audience = "api://other" })
	issuer := with("issuer", func(c *federation.Credential) { c.Issuer = "https://other/" })
	slash := with("slash", func(c *federation.Credential) { c.Issuer = "https://issuer" })
	capital := with("capital", func(c *federation.Credential) { c.Subject = "system:serviceaccount:shop:Orders" })
	swapped := with("swapped", func(c *federation.Credential) { c.Subject = "system:serviceaccount:orders:shop" })
	space := with("space", func(c *federation.Credential) { c.Subject += " " })
	another := with("another", func(c *federation.Credential) { c.Subject = "system:serviceaccount:shop:orders2" })
	lookAlike := with("look-alike", func(c *federation.Credential) { c.Subject = "system:serviceaccount:shop:\u043erders" })
	for _, tt := range []struct {
		existing []federation.Credential
		name     string
		differs  federation.Field
	}{
		{[]federation.Credential{issuer, audience, same}, "same", ""},
		{[]federation.Credential{issuer, audience}, "audience", federation.FieldAudience},
		{[]federation.Credential{issuer, capital}, "capital", federation.FieldSubject},
		{[]federation.Credential{swapped}, "swapped", federation.FieldSubject},
		{[]federation.Credential{space}, "space", federation.FieldSubject},
		{[]federation.Credential{lookAlike}, "look-alike", federation.FieldSubject},
		{[]federation.Credential{slash, issuer}, "slash", federation.FieldIssuer},
		{[]federation.Credential{issuer, slash}, "slash", federation.FieldIssuer},
		{[]federation.Credential{another}, "", ""},
		{nil, "", ""},
	} {
		if got := federation.Nearest(tt.existing, want); got.Credential.Name != tt.name || got.Differs != tt.differs {
			t.Errorf("%+v: got %s, %q; want %s, %q", tt.existing, got.Credential.Name, got.Differs, tt.name, tt.differs)
		}
	}
}
