package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	sigsyaml "sigs.k8s.io/yaml"

	"azwi/internal/finding"
)

// A Document is one YAML document or one JSON object.
type Document struct {
	// File is the name of the file it is in.
	File string
	// Line is that of the text's beginning in the file, from 1.
	Line int
	// Text is the document as it is in the file, in UTF-8, with the --- that begins
	// it.
	Text []byte
	// Err tells why the document can't be read: a *SyntaxError.
	Err error

	isJSON bool
	root   *yaml.Node // nil where the document holds nothing
	value  any        // decoded JSON, numbers as json.Number
	outer  Value      // the string that the document is in, if it is in one
}

// A Position is a place in a file. Line and column count from 1.
type Position struct {
	File         string
	Line, Column int
}

func (p Position) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// A SyntaxError is a document that is not valid YAML or JSON.
type SyntaxError struct {
	Position Position
	Problem  finding.Finding
}

func (e *SyntaxError) Error() string { return e.Position.String() + ": " + e.Problem.Text() }

// Parse splits a text into documents and reads them. The text is UTF-8 or UTF-16;
// its documents are UTF-8 without byte order marks.
func Parse(name string, text []byte) *File {
	file := &File{Name: name}
	text, err := decodeText(text)
	if err != nil {
		file.Documents = []*Document{{File: name, Line: 1, Text: text, Err: &SyntaxError{Position{name, 1, 1}, finding.Syntax(err.Error())}}}
		return file
	}
	if parts, ok := splitJSON(text); ok {
		for _, part := range parts {
			file.add(part, true)
		}
		return file
	}
	for _, part := range splitYAML(text) {
		file.add(part, false)
	}
	return file
}

func (f *File) add(text []byte, isJSON bool) {
	d := &Document{File: f.Name, Line: 1, Text: text, isJSON: isJSON}
	if n := len(f.Documents); n > 0 {
		before := f.Documents[n-1]
		d.Line = before.Line + bytes.Count(before.Text, []byte("\n"))
	}
	d.parse()
	f.Documents = append(f.Documents, d)
}

// splitJSON splits a text that begins with an object into its objects, each with
// the blanks after it. It reports false where the text is not JSON throughout.
func splitJSON(text []byte) ([][]byte, bool) {
	if !bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{")) {
		return nil, false
	}
	var parts [][]byte
	d := json.NewDecoder(bytes.NewReader(text))
	begin := int64(0)
	for {
		var object json.RawMessage
		err := d.Decode(&object)
		if errors.Is(err, io.EOF) {
			last := len(parts) - 1
			parts[last] = append(slices.Clip(parts[last]), text[begin:]...)
			return parts, true
		}
		if err != nil {
			return nil, false
		}
		parts = append(parts, text[begin:d.InputOffset()])
		begin = d.InputOffset()
	}
}

// splitYAML cuts before each line that begins with ---. YAML allows such a line
// nowhere inside of a document, whatever is being quoted.
// https://yaml.org/spec/1.2.2/#document-markers
func splitYAML(text []byte) [][]byte {
	var parts [][]byte
	begin, directives := 0, false
	for at := 0; at < len(text); {
		end := at + lineLength(text[at:])
		line := text[at:end]
		switch {
		case isMarker(line, "---"):
			if at > begin && !directives {
				parts = append(parts, text[begin:at])
				begin = at
			}
			directives = false
		case bytes.HasPrefix(line, []byte("%")):
			directives = true
		case isMarker(line, "..."):
			parts = append(parts, text[begin:end])
			begin = end
		}
		at = end
	}
	if begin < len(text) {
		parts = append(parts, text[begin:])
	}
	return parts
}

func lineLength(text []byte) int {
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		return i + 1
	}
	return len(text)
}

func isMarker(line []byte, marker string) bool {
	rest, ok := bytes.CutPrefix(line, []byte(marker))
	return ok && (len(rest) == 0 || strings.ContainsRune(" \t\r\n", rune(rest[0])))
}

func (d *Document) parse() {
	raw := d.Text
	if d.isJSON {
		d.root = nodeOfJSON(raw)
	} else {
		var root yaml.Node
		err := yaml.Unmarshal(raw, &root)
		if err == nil {
			raw, err = sigsyaml.YAMLToJSON(raw)
		}
		if err != nil {
			d.Err = d.syntaxError(err)
			return
		}
		if root.Kind == yaml.DocumentNode && len(root.Content) == 1 {
			d.root = root.Content[0]
		}
	}
	var err error
	if d.value, err = decode(raw); err != nil {
		d.Err = d.syntaxError(err)
	}
}

func decode(raw []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	return v, err
}

// syntaxError takes the line out of what the YAML library says.
func (d *Document) syntaxError(err error) *SyntaxError {
	message := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "error converting YAML to JSON: "), "yaml: ")
	line := d.Line
	if found := regexp.MustCompile(`^(?:unmarshal errors:\n\s*)?line (\d+): `).FindStringSubmatch(message); found != nil {
		if n, err := strconv.Atoi(found[1]); err == nil {
			line += max(n, 1) - 1
		}
		message = strings.TrimPrefix(message, found[0])
	}
	if at := bytes.Index(d.Text, []byte("{{")); at >= 0 {
		line = d.Line + bytes.Count(d.Text[:at], []byte("\n"))
		return &SyntaxError{Position{d.File, line, 1}, finding.Template()}
	}
	return &SyntaxError{Position{d.File, line, 1}, finding.Syntax(strings.ReplaceAll(message, "\n", " "))}
}

func (d *Document) position(n *yaml.Node) Position {
	if n == nil || n.Line == 0 {
		n = &yaml.Node{Line: 1, Column: 1}
	}
	if d.outer.Exists() {
		return d.outer.within(d.Line+n.Line-1, n.Column)
	}
	return Position{d.File, d.Line + n.Line - 1, n.Column}
}

// Root is the document's value. It reports false where there is none: nothing but
// comments, or Err.
func (d *Document) Root() (Value, bool) {
	return Value{d, nil, d.root, d.value}, d.Err == nil && d.root != nil && d.value != nil
}
