package terminal

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Escape replaces what a terminal might obey or people can't see: control,
// bidirectional, invisible and unassigned characters, spaces and line separators
// other than the ASCII space, and invalid UTF-8. The escapes are those of JSON,
// except \xNN for a byte that is not UTF-8. Text of printable characters is
// returned as it is.
func Escape(text string) string {
	if !strings.ContainsFunc(text, hidden) {
		return text
	}
	var out strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&out, `\x%02x`, text[i])
		case hidden(r):
			out.WriteString(escaped(r))
		default:
			out.WriteString(text[i : i+size])
		}
		i += size
	}
	return out.String()
}

// hidden reports whether a character must be escaped. U+FFFD is, since that is
// what an invalid byte decodes to.
func hidden(r rune) bool {
	return r == utf8.RuneError || !unicode.IsPrint(r) || unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

func escaped(r rune) string {
	switch r {
	case '\n':
		return `\n`
	case '\r':
		return `\r`
	case '\t':
		return `\t`
	}
	if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
		return fmt.Sprintf(`\u%04x\u%04x`, high, low)
	}
	return fmt.Sprintf(`\u%04x`, r)
}

// Log is the writer for a program's log. It escapes what [Escape] does, except line
// feeds and tabs, so that each record stays on its line and JSON stays the same
// JSON: slog's JSON handler passes U+009B and U+202E.
func Log(to io.Writer) io.Writer { return logWriter{to} }

type logWriter struct{ to io.Writer }

func (l logWriter) Write(record []byte) (int, error) {
	text := string(record)
	if strings.ContainsFunc(text, func(r rune) bool { return hidden(r) && r != '\n' && r != '\t' }) {
		var out strings.Builder
		for line := range strings.Lines(text) {
			body, ended := strings.CutSuffix(line, "\n")
			for i, cell := range strings.Split(body, "\t") {
				if i > 0 {
					out.WriteByte('\t')
				}
				out.WriteString(Escape(cell))
			}
			if ended {
				out.WriteByte('\n')
			}
		}
		text = out.String()
	}
	if _, err := io.WriteString(l.to, text); err != nil {
		return 0, err
	}
	return len(record), nil
}
