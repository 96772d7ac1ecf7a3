package terminal_test

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"azwi/internal/terminal"
)

// everything writes a text in each way that has colours, with foreign text in each.
func everything(w *terminal.Writer, foreign string) {
	w.Printf("%s %-6s|\n", terminal.Good.Text(foreign), terminal.Bad.Text("no"))
	w.Lead(terminal.Bad, "azwi: ", "  ", foreign+"\nmore")
	w.Rows(func(row func(terminal.Colour, ...string)) {
		row(terminal.Plain, "heading")
		row(terminal.Changed, "  ~ "+foreign, "b")
		row(terminal.Good, "  + c", foreign)
	})
}

// Colours are around text that is escaped, change nothing else, and are there only if
// they were turned on.
func TestColours(t *testing.T) {
	t.Parallel()
	const foreign = "a\x1b[31mb\u009b0m\n\x1b[0m"
	var plain, coloured bytes.Buffer
	everything(terminal.New(&plain), foreign)
	w := terminal.New(&coloured)
	w.SetColours(true)
	everything(w, foreign)
	if strings.Contains(plain.String(), "\x1b") {
		t.Errorf("an escape code without colours: %q", plain.String())
	}
	codes := regexp.MustCompile("\x1b\\[(3[123]|0)m")
	if got := codes.ReplaceAllString(coloured.String(), ""); got != plain.String() {
		t.Errorf("colours change the text:\n%q\n%q", got, plain.String())
	}
	if got := len(codes.FindAllString(coloured.String(), -1)); got != 10 {
		t.Errorf("%d codes in %q", got, coloured.String())
	}
}

func TestWhenColours(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		mode, noColour string
		want           bool
	}{
		{"auto", "", false}, // a buffer is no terminal
		{"always", "", true},
		{"always", "1", true}, // who asks for it gets it
		{"never", "", false},
	} {
		getenv := func(name string) string { return map[string]string{"NO_COLOR": test.noColour}[name] }
		if got := terminal.Colours(test.mode, new(bytes.Buffer), getenv); got != test.want {
			t.Errorf("%s, NO_COLOR=%q: %t", test.mode, test.noColour, got)
		}
	}
}
