package finding

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Difference points at what distinguishes two texts that should be equal byte for byte:
// the one that stands somewhere, such as "the credential", and the one that the token
// presents. Empty if they are equal.
func Difference(somewhere, text, token string) string {
	switch {
	case text == token:
		return ""
	case text == token+"/":
		return somewhere + " ends in a slash, and the token does not"
	case text+"/" == token:
		return "the token ends in a slash, and " + somewhere + " does not"
	case strings.TrimSpace(text) == token:
		return somewhere + " begins or ends with a space or a line break"
	case unusual(text) != "":
		return somewhere + " has " + unusual(text)
	case strings.Replace(text, "http://", "https://", 1) == token:
		return somewhere + " begins with http, and the token with https"
	case swapped(text, token):
		return somewhere + " has the namespace and the name of the service account in the wrong order"
	case strings.EqualFold(text, token):
		return fmt.Sprintf("upper and lower case differ at character %d", differsAt(text, token))
	}
	at := differsAt(text, token)
	return fmt.Sprintf("they differ at character %d: %s in %s, %s in the token", at, rest(text, at), somewhere, rest(token, at))
}

// differsAt is the first character that differs, counted from 1.
func differsAt(a, b string) int {
	other := []rune(b)
	n := 0
	for _, r := range a {
		if n >= len(other) || other[n] != r {
			break
		}
		n++
	}
	return n + 1
}

// rest quotes the text from a character on.
func rest(s string, from int) string {
	runes := []rune(s)
	if from > len(runes) {
		return "nothing"
	}
	return quote(string(runes[from-1:]))
}

// unusual names the first character that looks like another or like nothing.
func unusual(s string) string {
	n := 0
	for _, r := range s {
		n++
		switch {
		case r == utf8.RuneError:
			return fmt.Sprintf("a byte that is not text at character %d", n)
		case r > unicode.MaxASCII:
			return fmt.Sprintf("the character %U at character %d, which looks like another or like none", r, n)
		case r <= ' ' || r == 0x7f:
			return fmt.Sprintf("a space or a control character (%U) at character %d", r, n)
		}
	}
	return ""
}

// swapped reports whether two subjects have namespace and name in opposite orders.
func swapped(a, b string) bool {
	prefix, namespace, name := account(a)
	otherPrefix, otherNamespace, otherName := account(b)
	return prefix == otherPrefix && namespace == otherName && name == otherNamespace && name != ""
}

// account splits a subject at its last two colons.
func account(subject string) (prefix, namespace, name string) {
	i := strings.LastIndexByte(subject, ':')
	if i < 0 {
		return subject, "", ""
	}
	rest, name := subject[:i], subject[i+1:]
	j := strings.LastIndexByte(rest, ':')
	return rest[:j+1], rest[j+1:], name
}

// shell joins words into a command; what a shell would take apart or expand is quoted.
func shell(words ...string) string {
	var b strings.Builder
	for i, word := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		plain := func(r rune) bool {
			return r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_./:=,@%+", r))
		}
		if word != "" && strings.TrimFunc(word, plain) == "" {
			b.WriteString(word)
			continue
		}
		b.WriteString("'" + strings.ReplaceAll(word, "'", `'\''`) + "'")
	}
	return b.String()
}
