package terminal

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// width returns the columns of a terminal; 0 if it is none, or has too few for text.
func width(stream any) int {
	const least = 20
	file, ok := stream.(*os.File)
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(file.Fd()))
	if err != nil || columns < least {
		return 0
	}
	return columns
}

// wrap breaks lines that are longer than the width, between words, and indents what
// follows. A command stays on one line, so that it can be copied.
func wrap(text string, width int) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		body := strings.TrimSuffix(line, "\n")
		if width == 0 || columns(body) <= width {
			out.WriteString(line)
			continue
		}
		const more = "    "
		indent := body[:len(body)-len(strings.TrimLeft(body, " "))] + more
		at := 0
		for i, unit := range units(body) {
			if i > 0 && at > len(indent) && at+columns(strings.TrimRight(unit, " ")) > width {
				out.WriteString("\n" + indent)
				at = len(indent)
			}
			out.WriteString(unit)
			at += columns(unit)
		}
		out.WriteString(line[len(body):])
	}
	return trailing.ReplaceAllString(out.String(), "\n")
}

var (
	word     = regexp.MustCompile(`^ *[^ ]+ *|[^ ]+ *`)
	colour   = regexp.MustCompile("\x1b\\[[0-9;]*m")
	trailing = regexp.MustCompile(` +\n`)
)

// units are the words of a line with the spaces after them; a command is one.
func units(line string) []string {
	var all []string
	words := word.FindAllString(line, -1)
	for i := 0; i < len(words); i++ {
		unit := words[i]
		if slices.Contains([]string{"azwi", "kubectl", "az", "helm", "openssl"}, strings.TrimRight(unit, " ")) && i > 0 && strings.HasSuffix(strings.TrimRight(words[i-1], " "), ":") {
			for i+1 < len(words) && // up to what follows the command in the sentence
				!strings.HasPrefix(words[i+1], "(") && !strings.ContainsAny(unit[len(strings.TrimRight(unit, " "))-1:], ";,") {
				i++
				unit += words[i]
			}
		}
		all = append(all, unit)
	}
	return all
}

// columns is what a text takes on a terminal.
func columns(text string) int { return utf8.RuneCountInString(colour.ReplaceAllString(text, "")) }
