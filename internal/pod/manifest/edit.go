package manifest

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"azwi/internal/pod/inject"
)

// An editor writes a patch into the text of a YAML document. It knows block style
// only, and where it is not sure it gives up: Patch checks what comes out.
type editor struct {
	text    []byte
	lines   []line
	newline string
	compact bool
	root    *yaml.Node
	edits   []change
	// added counts the items that were put before others, for each list.
	added map[*yaml.Node]int
}

// A line of the text.
type line struct {
	begin, end int // end is behind the line's end
	indent     int // blanks before the first other byte; -1 for an empty line
	first      byte
	dash       bool // begins with the dash of a list
}

// A change replaces the bytes from begin to end.
type change struct {
	begin, end int
	text       string
	indent     int
}

func (d *Document) edit(ops []inject.Op) ([]byte, bool) {
	if oddLineEnds(d.Text) {
		return nil, false
	}
	e := editor{text: d.Text, lines: lines(d.Text), newline: "\n", compact: d.compactLists(), root: d.root, added: map[*yaml.Node]int{}}
	if bytes.Contains(d.Text, []byte("\r\n")) {
		e.newline = "\r\n"
	}
	for _, op := range ops {
		if !e.operation(op) {
			return nil, false
		}
	}
	// Where several blocks end, the inner ones are added to first.
	slices.SortStableFunc(e.edits, func(a, b change) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(b.indent, a.indent))
	})
	var out bytes.Buffer
	at := 0
	for _, c := range e.edits {
		if c.begin < at {
			return nil, false
		}
		out.Write(e.text[at:c.begin])
		if c.text != "" && out.Len() > 0 && c.begin == len(e.text) && !bytes.HasSuffix(out.Bytes(), []byte("\n")) {
			out.WriteString(e.newline)
		}
		out.WriteString(c.text)
		at = c.end
	}
	out.Write(e.text[at:])
	return out.Bytes(), true
}

// oddLineEnds reports whether YAML counts lines that we do not.
func oddLineEnds(text []byte) bool {
	return bytes.Count(text, []byte("\r")) != bytes.Count(text, []byte("\r\n")) || bytes.ContainsAny(text, "\u0085\u2028\u2029")
}

func lines(text []byte) []line {
	var all []line
	for at := 0; at < len(text); {
		l := line{begin: at, end: at + lineLength(text[at:]), indent: -1}
		content := bytes.TrimRight(text[l.begin:l.end], "\r\n")
		if trimmed := bytes.TrimLeft(content, " "); len(bytes.TrimSpace(trimmed)) > 0 {
			l.indent, l.first = len(content)-len(trimmed), trimmed[0]
			l.dash = trimmed[0] == '-' && (len(trimmed) == 1 || trimmed[1] == ' ')
		}
		all = append(all, l)
		at = l.end
	}
	return all
}

// compactLists reports whether the document's lists stand right below their key,
// as kubectl writes them, or are indented.
func (d *Document) compactLists() bool {
	compact, indented := 0, 0
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		for i, c := range n.Content {
			walk(c)
			if n.Kind != yaml.MappingNode || i%2 == 0 || c.Kind != yaml.SequenceNode || c.Style&yaml.FlowStyle != 0 {
				continue
			}
			if c.Column == n.Content[i-1].Column {
				compact++
			} else {
				indented++
			}
		}
	}
	if d.root != nil {
		walk(d.root)
	}
	return compact >= indented
}

func (e *editor) operation(op inject.Op) bool {
	value, err := nodeOf(op.Value)
	if err != nil {
		return false
	}
	tokens := pointer(op.Path)
	parent := e.root
	for _, token := range tokens[:len(tokens)-1] {
		if parent = child(parent, token); parent == nil {
			return false
		}
	}
	if parent.Style&yaml.FlowStyle != 0 || len(parent.Content) == 0 || parent.Line == 0 {
		return false
	}
	last := tokens[len(tokens)-1]
	switch parent.Kind {
	case yaml.MappingNode:
		return e.set(parent, last, value)
	case yaml.SequenceNode:
		return e.setItem(parent, op.Op, last, value)
	}
	return false
}

// set writes a member of a mapping.
func (e *editor) set(mapping *yaml.Node, key string, value *yaml.Node) bool {
	indent := mapping.Content[0].Column - 1
	entry, ok := e.render(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{
		{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, value,
	}}, indent)
	if !ok {
		return false
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		k := mapping.Content[i]
		if k.Value != key {
			continue
		}
		begin := e.lines[k.Line-1].begin + k.Column - 1
		return e.replace(begin, e.entryEnd(k), strings.TrimLeft(entry, " "), indent)
	}
	end := e.entryEnd(mapping.Content[len(mapping.Content)-2])
	return e.replace(end, end, entry, indent)
}

// setItem adds an item to a list, or replaces one.
func (e *editor) setItem(list *yaml.Node, op, token string, value *yaml.Node) bool {
	indent := list.Column - 1
	item, ok := e.render(&yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{value}}, indent)
	if !ok {
		return false
	}
	if token == "-" {
		_, end, ok := e.item(list, len(list.Content)-1)
		return ok && e.replace(end, end, item, indent)
	}
	index, err := strconv.Atoi(token)
	if err != nil {
		return false
	}
	index -= e.added[list]
	if index < 0 || index >= len(list.Content) {
		return false
	}
	begin, end, ok := e.item(list, index)
	if !ok {
		return false
	}
	if op == "replace" {
		return e.replace(begin, end, item, indent)
	}
	e.added[list]++
	begin = e.aboveComments(begin, indent)
	return e.replace(begin, begin, item, indent)
}

// render writes a block, indented, in the document's way.
func (e *editor) render(n *yaml.Node, indent int) (string, bool) {
	text, err := encode(n, e.compact)
	if err != nil {
		return "", false
	}
	var out strings.Builder
	for l := range strings.Lines(string(text)) {
		if content := strings.TrimSuffix(l, "\n"); content != "" {
			out.WriteString(strings.Repeat(" ", indent))
			out.WriteString(content)
		}
		out.WriteString(e.newline)
	}
	return out.String(), true
}

func (e *editor) replace(begin, end int, text string, indent int) bool {
	e.edits = append(e.edits, change{begin, end, text, indent})
	return true
}

// entryEnd is where the member of a block mapping ends, blank lines and comments
// behind it excepted.
func (e *editor) entryEnd(key *yaml.Node) int {
	indent := key.Column - 1
	return e.blockEnd(key.Line, func(l line) bool { return l.indent > indent || l.indent == indent && l.dash })
}

// item is where an item of a block list begins and ends. It reports false where
// the item does not begin its line.
func (e *editor) item(list *yaml.Node, index int) (begin, end int, ok bool) {
	indent := list.Column - 1
	// The item's content may begin below its dash.
	number := list.Content[index].Line
	for number > 0 && (e.lines[number-1].indent != indent || !e.lines[number-1].dash) {
		number--
	}
	if number < list.Line {
		return 0, 0, false
	}
	end = e.blockEnd(number, func(l line) bool { return l.indent > indent })
	return e.lines[number-1].begin, end, true
}

// blockEnd is the end of the block that begins on the line of that number, from 1.
func (e *editor) blockEnd(number int, inside func(line) bool) int {
	end := e.lines[number-1].end
	for _, l := range e.lines[number:] {
		switch {
		case l.indent >= 0 && inside(l):
			end = l.end
		case l.indent >= 0 && l.first != '#':
			return end
		}
	}
	return end
}

// aboveComments is where the comments begin that stand right above the line.
func (e *editor) aboveComments(begin, indent int) int {
	i := slices.IndexFunc(e.lines, func(l line) bool { return l.begin == begin })
	for i > 0 && e.lines[i-1].first == '#' && e.lines[i-1].indent == indent {
		i--
	}
	return e.lines[i].begin
}
