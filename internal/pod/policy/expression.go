package policy

import (
	"strconv"
	"strings"
)

// differentCEL compares two CEL expressions by their tokens, so that layout and
// comments don't count. If they differ, it tells where each begins to.
// Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax
func differentCEL(a, b string) (atA, atB int, same bool) {
	inA, inB := celTokens{text: a}, celTokens{text: b}
	for {
		tokenA, tokenB := inA.next(), inB.next()
		if tokenA != tokenB {
			return inA.start, inB.start, false
		}
		if tokenA == "" {
			return 0, 0, true
		}
	}
}

// celTokens takes an expression apart.
type celTokens struct {
	text       string
	start, end int // of the last token
}

// next is the next token: a word, a string by its value, or one other character.
// Empty: there is none.
func (c *celTokens) next() string {
	rest := c.text[c.end:]
	for {
		trimmed := strings.TrimLeft(rest, " \t\r\n\f")
		if strings.HasPrefix(trimmed, "//") {
			_, trimmed, _ = strings.Cut(trimmed, "\n")
		}
		if len(trimmed) == len(rest) {
			break
		}
		rest = trimmed
	}
	c.start = len(c.text) - len(rest)
	n := 0
	for n < len(rest) && isWord(rest[n]) {
		n++
	}
	prefix := strings.ToLower(rest[:n])
	if n < len(rest) && (rest[n] == '"' || rest[n] == '\'') && (prefix == "" || prefix == "r" || prefix == "b" || prefix == "br" || prefix == "rb") {
		raw := strings.Contains(prefix, "r")
		inner, length := celString(rest[n:], raw)
		c.end = c.start + n + length
		return strings.ReplaceAll(prefix, "r", "") + `"` + inner
	}
	if n == 0 {
		n = min(1, len(rest))
	}
	c.end = c.start + n
	return rest[:n]
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func isSpace(c byte) bool { return strings.IndexByte(" \t\r\n\f", c) >= 0 }

// celString reads the literal at the beginning of a text: its value, or what is
// between the quotes where that is not clear, and its length.
func celString(text string, raw bool) (value string, length int) {
	quote := text[:1]
	if strings.HasPrefix(text, strings.Repeat(quote, 3)) {
		quote = text[:3]
	}
	end := len(quote)
	for end < len(text) && !strings.HasPrefix(text[end:], quote) {
		if text[end] == '\\' && !raw {
			end++
		}
		end++
	}
	inner := text[len(quote):min(end, len(text))]
	length = min(end+len(quote), len(text))
	if raw {
		return inner, length
	}
	var out strings.Builder
	for rest := inner; rest != ""; {
		r, multibyte, tail, err := strconv.UnquoteChar(rest, 0)
		switch {
		case err == nil && multibyte:
			out.WriteRune(r)
		case err == nil && r < 0x80:
			out.WriteByte(byte(r))
		case len(rest) > 1 && rest[0] == '\\' && strings.IndexByte("\"'`?", rest[1]) >= 0: // not escaped in Go
			out.WriteByte(rest[1])
			tail = rest[2:]
		default:
			return inner, length
		}
		rest = tail
	}
	return out.String(), length
}
