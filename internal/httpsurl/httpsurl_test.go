package httpsurl_test

import (
	"errors"
	"testing"

	"azwi/internal/httpsurl"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"https://login.microsoftonline.com/": true, "https://a:8443/b": true, "HTTPS://a": true,
		"": false, "a": false, "//a": false, "http://a": false, "https://": false, "https:a": false, "https://u@a": false,
		"https://u:p@a": false, "https://a?b": false, "https://a#b": false, "https://a\n": false, "https://%zz": false,
	} {
		u, err := httpsurl.Parse(text)
		if (err == nil) != want || err != nil && (!errors.Is(err, httpsurl.ErrForm) || u != nil) {
			t.Errorf("%q: %v, %v", text, u, err)
		}
	}
}
