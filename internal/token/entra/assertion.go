package entra

import (
	"errors"
	"fmt"
	"strings"

	"azwi/internal/jwt"
	"azwi/internal/plainfile"
)

// ErrAssertion says that the token file is missing, unreadable, empty, damaged or too
// large. The kubelet may put it right, so it is worth trying again.
var ErrAssertion = errors.New("no usable service account token")

// maxAssertion bounds a token file, in bytes. Tokens of the API server have about
// 1 KiB.
const maxAssertion = 32 << 10

// ReadAssertion reads a projected service account token. It is to be called anew
// for each exchange, as the kubelet replaces the file long before the token
// expires. White space around the token is dropped. The error never quotes the
// file's content; it matches ErrAssertion.
func ReadAssertion(file string) (string, error) {
	raw, err := plainfile.Read(file, maxAssertion)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrAssertion, err)
	}
	assertion, problem := parseAssertion(raw)
	if problem != "" {
		return "", fmt.Errorf("%w: %s %s", ErrAssertion, file, problem)
	}
	return assertion, nil
}

// parseAssertion looks at the form alone: three segments of base64url. Entra
// checks the rest.
func parseAssertion(raw []byte) (assertion, problem string) {
	if len(raw) > maxAssertion {
		return "", "is too large for a token"
	}
	s := strings.TrimSpace(string(raw))
	if s == "" {
		return "", "is empty"
	}
	if jwt.Check(s) != nil {
		return "", "holds no JWT"
	}
	return s, ""
}
