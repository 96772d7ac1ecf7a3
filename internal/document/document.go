package document

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"azwi/internal/finding"
)

// maxDepth bounds nesting.
const maxDepth = 32

// A Document remembers where each field stood.
type Document struct {
	// Name of the file in errors.
	name  string
	lines map[string]int
	errs  []error
}

// An Error is one mistake in a file.
type Error struct {
	File string
	// Line is counted from 1.
	Line int
	// Field is a path such as applications[0].appId.
	Field   string
	Message string
}

func (e *Error) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Message)
	}
	return fmt.Sprintf("%s:%d: %s: %s", e.File, e.Line, e.Field, e.Message)
}

// Read decodes text, YAML or JSON, into the struct that into points to. Fields
// are named by their json tags. All mistakes are reported together by Err.
func Read(name string, text []byte, into any) *Document {
	d := &Document{name: name, lines: map[string]int{}}
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		d.errs = append(d.errs, syntaxError(name, err))
		return d
	}
	if len(root.Content) == 0 {
		return d // an empty file
	}
	d.decode(root.Content[0], reflect.ValueOf(into).Elem(), "", 0)
	return d
}

// syntaxError keeps the line that the parser's text begins with.
func syntaxError(name string, err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		if number, message, ok := strings.Cut(rest, ": "); ok {
			if n, err := strconv.Atoi(number); err == nil {
				line, text = n, message
			}
		}
	}
	return &Error{File: name, Line: line, Message: finding.Syntax(text).Text()}
}

// Fail reports a mistake in a field.
func (d *Document) Fail(field, format string, args ...any) {
	at := field
	line := d.lines[at]
	for line == 0 && at != "" {
		// A missing field is reported where the object that lacks it begins.
		at = at[:max(strings.LastIndexAny(at, ".["), 0)]
		line = d.lines[at]
	}
	d.errs = append(d.errs, &Error{File: d.name, Line: max(line, 1), Field: field, Message: fmt.Sprintf(format, args...)})
}

// Err is everything that was wrong, or nil.
func (d *Document) Err() error { return errors.Join(d.errs...) }

func (d *Document) decode(n *yaml.Node, v reflect.Value, path string, depth int) {
	d.lines[path] = n.Line
	switch {
	case depth > maxDepth:
		d.Fail(path, "nested too deeply")
		return
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		d.Fail(path, "anchors and aliases are not supported")
		return
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return // the zero value
	}
	switch v.Interface().(type) {
	case time.Duration:
		life, err := time.ParseDuration(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil {
			d.Fail(path, "want a duration such as 90s or 10m")
			return
		}
		v.SetInt(int64(life))
		return
	case time.Time:
		at, err := time.Parse(time.RFC3339, n.Value)
		if n.Kind != yaml.ScalarNode || err != nil {
			d.Fail(path, "want a time such as 2027-01-31T00:00:00Z")
			return
		}
		v.Set(reflect.ValueOf(at))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.decode(n, v.Elem(), path, depth)
	case reflect.Struct:
		d.decodeStruct(n, v, path, depth)
	case reflect.Map:
		d.decodeMap(n, v, path, depth)
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			d.Fail(path, "want a list")
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
		for i, item := range n.Content {
			d.decode(item, v.Index(i), fmt.Sprintf("%s[%d]", path, i), depth+1)
		}
	default:
		d.decodeScalar(n, v, path)
	}
}

func (d *Document) decodeScalar(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode {
		d.Fail(path, "want one %s", kindName(v.Kind()))
		return
	}
	switch v.Kind() {
	case reflect.String:
		// Whatever YAML takes it for: a GUID may look like a number.
		v.SetString(n.Value)
	case reflect.Bool, reflect.Int, reflect.Float64:
		if err := n.Decode(v.Addr().Interface()); err != nil {
			d.Fail(path, "want a %s", kindName(v.Kind()))
		}
	default:
		d.Fail(path, "can't be set")
	}
}

func kindName(k reflect.Kind) string {
	switch k {
	case reflect.Bool:
		return "boolean"
	case reflect.Int:
		return "whole number"
	case reflect.Float64:
		return "number"
	}
	return "text"
}

func (d *Document) decodeStruct(n *yaml.Node, v reflect.Value, path string, depth int) {
	if n.Kind != yaml.MappingNode {
		d.Fail(path, "want fields")
		return
	}
	fields := map[string]int{}
	var known []string
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if name != "" && name != "-" {
			fields[name] = i
			known = append(known, name)
		}
	}
	d.pairs(n, path, func(name, field string, value *yaml.Node) {
		i, ok := fields[name]
		if !ok {
			d.Fail(field, "unknown field; known are %s", strings.Join(known, ", "))
			return
		}
		d.decode(value, v.Field(i), field, depth+1)
	})
}

func (d *Document) decodeMap(n *yaml.Node, v reflect.Value, path string, depth int) {
	if n.Kind != yaml.MappingNode {
		d.Fail(path, "want names with values")
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	d.pairs(n, path, func(name, field string, value *yaml.Node) {
		item := reflect.New(v.Type().Elem()).Elem()
		d.decode(value, item, field, depth+1)
		v.SetMapIndex(reflect.ValueOf(name), item)
	})
}

// plain is a name as it stands in errors: quoted unless it is one that a schema may
// have, and cut if it is long.
func plain(name string) string {
	const most = 64
	if len(name) > most {
		name = name[:most] + "..."
	}
	if strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./") != "" {
		return strconv.QuoteToASCII(name)
	}
	return name
}

// pairs calls f for each key of a mapping, once.
func (d *Document) pairs(n *yaml.Node, path string, f func(name, field string, value *yaml.Node)) {
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		field := plain(key.Value)
		if path != "" {
			field = path + "." + field
		}
		d.lines[field] = key.Line
		switch {
		case key.Kind != yaml.ScalarNode:
			d.Fail(path, "want plain names")
		case seen[key.Value]:
			d.Fail(field, "occurs twice")
		default:
			seen[key.Value] = true
			f(key.Value, field, value)
		}
	}
}
