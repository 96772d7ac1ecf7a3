package jwt_test

import (
	"errors"
	"testing"

	"azwi/internal/jwt"
)

func TestPayload(t *testing.T) {
	t.Parallel()
	for token, want := range map[string]string{
		"e30.eyJhIjoxfQ.c2ln":   `{"a":1}`,
		"e30.eyJhIjoxfQ==.c2ln": `{"a":1}`, // some add padding
		"e30.eyJhIjoxfQ":        "",
		"e30.!.c2ln":            "",
		"":                      "",
	} {
		got, err := jwt.Payload(token)
		if string(got) != want || (want == "") != errors.Is(err, jwt.ErrForm) {
			t.Errorf("%q: %q, %v", token, got, err)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for token, want := range map[string]bool{
		"e30.eyJhIjoxfQ.c2ln": true, "a-_.b.c": true,
		"e30.eyJhIjoxfQ": false, "a.b.c.d": false, "a..c": false, "a.b.c ": false, "a.b=.c": false, "": false,
	} {
		if err := jwt.Check(token); (err == nil) != want || err != nil && !errors.Is(err, jwt.ErrForm) {
			t.Errorf("%q: %v", token, err)
		}
	}
}
