package imds

import (
	"crypto/subtle"
	"net/url"
	"path"
	"strings"
)

// A Place is what a request's path stands for.
type Place int

const (
	// Elsewhere is the rest of the metadata service, which knows nothing of
	// identities. Only such paths may be forwarded.
	Elsewhere Place = iota
	// Malformed paths could mean one thing here and another elsewhere.
	Malformed
	// Identity is what /metadata/identity has beside tokens.
	Identity
	// IMDSToken is the token endpoint of IMDS.
	IMDSToken
	// MSIToken is the token endpoint of the App Service and Cloud Shell forms.
	MSIToken
)

// Locate finds out what a path stands for. msiSecret is the first segment of the
// MSI endpoint's path; if it is empty there is no such endpoint. clean is the
// path without encoding, dot segments and double slashes: the only form to
// forward.
//
// Nothing that any reader could take for /metadata/identity is Elsewhere, since
// the real IMDS would answer there with the node's identity. So a path is
// forwarded only if it is plain ASCII and decodes in one step.
func Locate(u *url.URL, msiSecret string) (place Place, clean string) {
	decoded := u.Path
	if decoded == imdsTokenPath {
		return IMDSToken, decoded // almost every request
	}
	if u.Opaque != "" || !plain(decoded) {
		return Malformed, ""
	}
	clean = path.Clean("/" + decoded)
	if strings.HasSuffix(decoded, "/") && clean != "/" {
		clean += "/"
	}
	segments := strings.Split(strings.ToLower(strings.Trim(clean, "/")), "/")
	is := func(want ...string) bool { return strings.Join(segments, "/") == strings.Join(want, "/") }
	switch {
	case is("metadata", "identity", "oauth2", "token"):
		return IMDSToken, clean
	case strings.HasPrefix(segments[0], "metadata") && identityIn(segments[1:]):
		return Identity, clean
	case len(segments) == 3 && segments[1] == "msi" && segments[2] == "token":
		if msiSecret == "" || subtle.ConstantTimeCompare([]byte(strings.ToLower(msiSecret)), []byte(segments[0])) != 1 {
			return Identity, clean // not to be forwarded either: it may be a secret
		}
		return MSIToken, clean
	}
	return Elsewhere, clean
}

const imdsTokenPath = "/metadata/identity/oauth2/token"

// plain allows what RFC 3986 does in a path unencoded, without the semicolon that
// some servers cut parameters at. A percent sign is a second encoding.
func plain(s string) bool {
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,:=@/") == ""
}

// identityIn is wider than the real name: servers exist that drop dots and the
// like from the end of a segment.
func identityIn(segments []string) bool {
	for _, s := range segments {
		if strings.Contains(s, "identity") {
			return true
		}
	}
	return false
}
