package terminal

import "testing"

func TestWrap(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, text string
		width      int
		want       string
	}{
		{"no terminal", "a line that is long\n", 0, "a line that is long\n"},
		{"fits", "a line that fits\n", 16, "a line that fits\n"},
		{"between words", "one two three four\nfive\n", 10, "one two\n    three\n    four\nfive\n"},
		{"keeps its indent", "  one two three\n", 10, "  one two\n      three\n"},
		{"a long word", "https://example.com/long x\n", 10, "https://example.com/long\n    x\n"},
		{"columns of a table", "orders  shop/orders  blue  daf612ae\n", 28, "orders  shop/orders  blue\n    daf612ae\n"},
		{"a prompt has no line feed", "remove all of this? ", 12, "remove all\n    of this? "},
		{"colours take no space", "\x1b[31mazwi: \x1b[0mno\n", 8, "\x1b[31mazwi: \x1b[0mno\n"},
		{"a command", "missing: azwi create --name orders --wait; then wait\n", 20, "missing:\n    azwi create --name orders --wait;\n    then wait\n"},
		{"a command and a remark", "missing: azwi create --name orders (or another)\n", 20, "missing:\n    azwi create --name orders\n    (or another)\n"},
		{"runes", "äöü äöü äöü\n", 11, "äöü äöü äöü\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := wrap(test.text, test.width); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
