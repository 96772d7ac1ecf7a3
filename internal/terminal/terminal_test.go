package terminal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"azwi/internal/terminal"
)

// hostile has a character of each kind that must not reach a terminal.
const hostile = "a\x00\x07\x1b[31m\x7f\u0085\u009b2J\u00a0\u00ad\u061c\u115f\u200b\u200d\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\u3164\ufe0f\ufeff\ufff9\U000e0041\U000e0100\xff\xc3z"

func TestEscape(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, want string }{
		{"", ""},
		{"shop/orders é 日本 🙂 \\x1b", "shop/orders é 日本 🙂 \\x1b"},
		{"a\tb\r\nc", `a\tb\r\nc`},
		{"\x1b]0;title\x07", `\u001b]0;title\u0007`},
		{"\u009b2J\u007f", `\u009b2J\u007f`},
		{"user\u202etxt.exe\u2066", `user\u202etxt.exe\u2066`},
		{"\U000e0041", `\udb40\udc41`},
		{"\xff\ufffd", `\xff\ufffd`},
	} {
		if got := terminal.Escape(test.text); got != test.want {
			t.Errorf("%+q: %s, want %s", test.text, got, test.want)
		}
	}
	for r := rune(0); r <= unicode.MaxRune; r++ {
		text := terminal.Escape(string(r))
		if unicode.In(r, unicode.C, unicode.Zl, unicode.Zp, unicode.Bidi_Control, unicode.Join_Control, unicode.Other_Default_Ignorable_Code_Point) && text == string(r) {
			t.Fatalf("%U passes", r)
		}
	}
}

// safe fails if text has anything that a terminal might obey.
func safe(t *testing.T, name, text string) {
	t.Helper()
	for _, r := range text {
		if r != '\n' && !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			t.Errorf("%s: %U in %+q", name, r, text)
		}
	}
}

func TestWriterEscapesEveryValue(t *testing.T) {
	t.Parallel()
	type named string
	for name, values := range map[string][]any{
		"string":  {hostile},
		"named":   {named(hostile)},
		"error":   {fmt.Errorf("read: %w", errors.New(hostile))},
		"bytes":   {[]byte(hostile)},
		"slice":   {[]string{hostile, "b"}},
		"struct":  {struct{ A any }{hostile}},
		"pointer": {&struct{ A string }{hostile}},
		"rune":    {'\u202e'},
	} {
		var out bytes.Buffer
		w := terminal.New(&out)
		w.Printf("%v\n", values...)
		w.Printf("%+v\n", values...)
		if name != "rune" && name != "struct" && name != "pointer" {
			w.Printf("%s|%-30s|%q\n", values[0], values[0], values[0])
		}
		safe(t, name, out.String())
		if lines := strings.Count(out.String(), "\n"); lines > 3 {
			t.Errorf("%s: %d lines:\n%s", name, lines, &out)
		}
	}
	var out bytes.Buffer
	w := terminal.New(&out)
	w.Printf("%c%%%5d|%-6s|%q|%x|%v|%s\n", 'x', 42, "ab", "a\x1b", "hi", []int{1}, 1500*time.Millisecond)
	if diff := cmp.Diff("x%   42|ab    |\"a\\x1b\"|6869|[1]|1.5s\n", out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestWriterLayout(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := terminal.New(&out)
	w.Block("azwi: ", "  ", "first\nazwi: \x1b[1msecond\n\nlast\n")
	w.Table(func(row func(...string)) {
		row("NAME", "BY", "ID")
		row("a\tb", "azwi\n", "x")
	})
	w.Overwrite("%d of %d %s", 1, 2, "\x1b")
	w.Overwrite("")
	want := "azwi: first\n  azwi: \\u001b[1msecond\n\n  last\n" +
		"NAME  BY      ID\n" +
		"a\\tb  azwi\\n  x\n" +
		"\r\x1b[K1 of 2 \\u001b\r\x1b[K"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestWriterKeepsTheFirstError(t *testing.T) {
	t.Parallel()
	w := terminal.New(full{})
	if err := w.Err(); err != nil {
		t.Error(err)
	}
	w.Printf("a")
	if err := w.Err(); err == nil || err.Error() != "no space left" {
		t.Errorf("error %v", err)
	}
}

// Logs for people and for collectors: no control character passes, and JSON means
// what it meant.
func TestLog(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(terminal.Log(b), nil) },
		"json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(terminal.Log(b), nil) },
	} {
		var out bytes.Buffer
		log := slog.New(handler(&out)).With(hostile, hostile) //nolint:sloglint // a hostile key on purpose
		log.Info("refused "+hostile, "error", errors.New(hostile), slog.Group("g", "value", hostile))
		safe(t, name, out.String())
		if n := strings.Count(out.String(), "\n"); n != 1 {
			t.Errorf("%s: %d lines", name, n)
		}
		if name != "json" {
			continue
		}
		var record struct{ Error string }
		if err := json.Unmarshal(out.Bytes(), &record); err != nil {
			t.Error(err)
		}
		if want := strings.ToValidUTF8(hostile[:len(hostile)-3], "") + "\ufffd\ufffdz"; record.Error != want {
			t.Errorf("%+q, want %+q", record.Error, want)
		}
	}
}
