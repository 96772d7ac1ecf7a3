package terminal

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"text/tabwriter"

	"golang.org/x/term"
)

// eraseLine returns to the beginning of the line and empties it.
const eraseLine = "\r\x1b[K"

// A Writer writes text for people to one stream. Formats are trusted; every value
// is escaped, however it is formatted. It is no io.Writer on purpose, so that
// nothing can be written past the escaping. It keeps the first error, so that
// callers need to look only once, at the end. Safe for concurrent use.
type Writer struct {
	terminal bool
	colours  bool // set before the first text

	mu  sync.Mutex
	to  io.Writer
	err error
	// over says that a line is shown that the next text replaces.
	over bool
}

// New returns the writer for a stream.
func New(to io.Writer) *Writer {
	return &Writer{to: to, terminal: IsTerminal(to)}
}

// IsTerminal reports whether a stream is one.
func IsTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// IsTerminal reports whether people see the text at once, on a terminal.
func (w *Writer) IsTerminal() bool { return w.terminal }

// Err returns the first error in writing.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *Writer) write(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text = wrap(text, w.width())
	if w.over {
		text, w.over = eraseLine+text, false
	}
	w.put(text)
}

func (w *Writer) width() int {
	if !w.terminal {
		return 0
	}
	return width(w.to)
}

func (w *Writer) put(text string) {
	if w.err == nil {
		_, w.err = io.WriteString(w.to, text)
	}
}

// Printf formats like [fmt.Printf] and escapes each value, line feeds too.
func (w *Writer) Printf(format string, values ...any) { w.write(w.sprintf(format, values...)) }

// Block writes text of several lines: lead, the first line, and the others after
// indent. What the text says can't look like a line of ours if indent is not empty.
func (w *Writer) Block(lead, indent, text string) { w.Lead(Plain, lead, indent, text) }

// Lead is Block with a lead in a colour.
func (w *Writer) Lead(c Colour, lead, indent, text string) {
	var out strings.Builder
	for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		if i > 0 {
			lead, c = indent, Plain
		}
		if line == "" {
			lead = strings.TrimRight(lead, " ")
		}
		out.WriteString(w.paint(c, lead) + Escape(line) + "\n")
	}
	w.write(out.String())
}

// Table writes rows, with their cells in aligned columns.
func (w *Writer) Table(fill func(row func(cells ...string))) {
	w.Rows(func(row func(Colour, ...string)) {
		fill(func(cells ...string) { row(Plain, cells...) })
	})
}

// Rows is Table with the first cell of each row in a colour.
func (w *Writer) Rows(fill func(row func(first Colour, cells ...string))) {
	var aligned, out strings.Builder
	var first []Painted
	table := tabwriter.NewWriter(&aligned, 0, 0, 2, ' ', 0)
	fill(func(c Colour, cells ...string) {
		first = append(first, c.Text(Escape(cells[0])))
		for i, cell := range cells {
			if i > 0 {
				io.WriteString(table, "\t") //nolint:errcheck // a strings.Builder takes all
			}
			io.WriteString(table, Escape(cell)) //nolint:errcheck // see above
		}
		io.WriteString(table, "\n") //nolint:errcheck // see above
	})
	table.Flush()
	for line := range strings.Lines(aligned.String()) { // one for each row, as cells have no line feeds
		out.WriteString(w.paint(first[0].colour, first[0].text) + strings.TrimPrefix(line, first[0].text))
		first = first[1:]
	}
	w.write(out.String())
}

// Overwrite replaces the line that is being written, on a terminal. Other text replaces
// it, too.
func (w *Writer) Overwrite(format string, values ...any) {
	text := w.sprintf(format, values...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = text != ""
	if most := w.width() - 1; most > 0 && columns(text) > most {
		text = string([]rune(colour.ReplaceAllString(text, ""))[:most]) // of a line that the terminal breaks, only the end can be replaced
	}
	w.put(eraseLine + text)
}

func (w *Writer) sprintf(format string, values ...any) string {
	if false {
		_ = fmt.Sprintf(format, values...) // lets go vet check calls of Printf and Overwrite
	}
	escaping := make([]any, len(values))
	for i, v := range values {
		escaping[i] = value{w, v}
	}
	return fmt.Sprintf(format, escaping...)
}

// A value is formatted as it would be by itself, then escaped.
type value struct {
	writer *Writer
	any
}

func (v value) Format(state fmt.State, verb rune) {
	text := Escape(fmt.Sprintf(fmt.FormatString(state, verb), v.any))
	if painted, ok := v.any.(Painted); ok {
		text = v.writer.paint(painted.colour, text)
	}
	io.WriteString(state, text) //nolint:errcheck // it goes to a buffer
}
