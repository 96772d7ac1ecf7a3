package terminal

// A Colour says of a text how what it tells of went. Only a Writer writes it, after the
// text was escaped, and only where colours are wanted.
type Colour string

// The colours, by what they mean.
const (
	Plain   Colour = ""
	Good    Colour = "32" // green: made, there, works
	Changed Colour = "33" // yellow: changed, or worth a look
	Bad     Colour = "31" // red: removed, refused, broken
)

// Text is a value for Printf, in the colour.
func (c Colour) Text(text string) Painted { return Painted{c, text} }

// Painted is a text with its colour.
type Painted struct {
	colour Colour
	text   string
}

// String is the text alone.
func (p Painted) String() string { return p.text }

// paint puts the codes around text that is escaped.
func (w *Writer) paint(c Colour, text string) string {
	if c == Plain || text == "" || !w.colours {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// Colours are wanted or not by what --color says: always, never, or auto, which is on a
// terminal unless NO_COLOR (https://no-color.org) or TERM=dumb says otherwise.
func Colours(mode string, stream any, getenv func(string) string) bool {
	if mode != "auto" {
		return mode == "always"
	}
	return IsTerminal(stream) && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
}

// SetColours turns colours on or off; without, there are none.
func (w *Writer) SetColours(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.colours = on
}
