package httpsurl

import (
	"errors"
	"net/url"
)

// ErrForm says that a text is not such a URL.
var ErrForm = errors.New("want an https URL without user, query and fragment")

// Parse returns the URL, or ErrForm. It accepts what Azure's SDKs accept as an authority
// or token proxy.
func Parse(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, ErrForm // the parser's error would quote a password
	}
	return u, nil
}
