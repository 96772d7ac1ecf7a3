package manifest

import (
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A Value is one value of a document, with its place. The zero Value is one that
// is not there.
type Value struct {
	doc  *Document
	key  *yaml.Node // of the mapping that the value is in, if any
	node *yaml.Node
	json any
}

// Position is where the value begins.
func (v Value) Position() Position { return v.doc.position(v.node) }

// KeyPosition is where the key begins that the value belongs to, or else the value.
func (v Value) KeyPosition() Position {
	if v.key == nil {
		return v.Position()
	}
	return v.doc.position(v.key)
}

// Exists reports whether there is such a value; null is one.
func (v Value) Exists() bool { return v.node != nil }

// JSON is the value as decoded JSON, numbers as json.Number. It is shared: do not
// change it.
func (v Value) JSON() any { return v.json }

// Text returns a string, and false if the value is none.
func (v Value) Text() (string, bool) {
	s, ok := v.json.(string)
	return s, ok
}

// Source is a scalar as it is written, without quotes.
func (v Value) Source() string {
	if v.node == nil {
		return ""
	}
	return resolve(v.node).Value
}

// A Member is a key and its value.
type Member struct {
	Key   string
	Value Value
	// Again is set where an earlier member of the mapping has the same key; only
	// the last one counts.
	Again bool
}

// Members returns what a mapping holds, in its order.
func (v Value) Members() []Member {
	object, ok := v.json.(map[string]any)
	if !ok {
		return nil
	}
	var members []Member
	last, own := map[string]int{}, map[string]bool{}
	each(resolve(v.node), func(key, value *yaml.Node, merged bool) {
		name := resolve(key).Value
		of, known := object[name]
		if !known {
			return // a key that is read as no string, such as an unquoted yes
		}
		if before, ok := last[name]; ok {
			members[before].Value.json = nil
		}
		last[name] = len(members)
		members = append(members, Member{name, Value{v.doc, key, value, of}, own[name]})
		own[name] = own[name] || !merged
	})
	return members
}

// Get returns the member of that name in a mapping, or the zero Value. A path of
// names goes deeper.
func (v Value) Get(path ...string) Value {
	for _, name := range path {
		object, ok := v.json.(map[string]any)
		if !ok {
			return Value{}
		}
		of, ok := object[name]
		if !ok {
			return Value{}
		}
		next := Value{}
		each(resolve(v.node), func(key, value *yaml.Node, _ bool) {
			if resolve(key).Value == name {
				next = Value{v.doc, key, value, of}
			}
		})
		if next.node == nil {
			return Value{}
		}
		v = next
	}
	return v
}

// Items returns what a list holds.
func (v Value) Items() []Value {
	list, ok := v.json.([]any)
	if !ok || v.node == nil {
		return nil
	}
	node := resolve(v.node)
	if len(node.Content) != len(list) {
		return nil
	}
	items := make([]Value, len(list))
	for i, item := range list {
		items[i] = Value{v.doc, nil, node.Content[i], item}
	}
	return items
}

// Each calls f for all values at a path as package workload has them, with the JSON
// pointer (RFC 6901) from v to them: names with dots between them, where name[] is
// each item of a list, * each member of a mapping, and "." is v itself.
func (v Value) Each(path string, f func(pointer string, value Value)) {
	if path == "." {
		f("", v)
		return
	}
	v.each("", strings.Split(path, "."), f)
}

func (v Value) each(pointer string, names []string, f func(pointer string, value Value)) {
	if len(names) == 0 {
		if v.Exists() {
			f(pointer, v)
		}
		return
	}
	name, isList := strings.CutSuffix(names[0], "[]")
	rest := names[1:]
	switch {
	case name == "*":
		for _, m := range v.Members() {
			m.Value.each(pointer+"/"+escapePointer(m.Key), rest, f)
		}
	case isList:
		for i, item := range v.Get(name).Items() {
			item.each(pointer+"/"+name+"/"+strconv.Itoa(i), rest, f)
		}
	default:
		v.Get(name).each(pointer+"/"+name, rest, f)
	}
}

func escapePointer(s string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(s) }

// Embedded reads a string as a text of manifests. Its documents have their places in
// the text that v is in: the very line where v is a literal block, v's own place
// otherwise.
func (v Value) Embedded() []*Document {
	text, ok := v.Text()
	if !ok {
		return nil
	}
	documents := Parse(v.doc.File, []byte(text)).Documents
	for _, d := range documents {
		d.outer = v
	}
	return documents
}

// within is the place of a node of a text that v holds, from the text's beginning.
func (v Value) within(line, column int) Position {
	node := resolve(v.node)
	if node.Style&yaml.LiteralStyle == 0 {
		return v.Position()
	}
	indent := 0
	for number, l := range lines(v.doc.Text) {
		if number >= node.Line && l.indent >= 0 {
			indent = l.indent
			break
		}
	}
	return v.doc.position(&yaml.Node{Line: node.Line + line, Column: indent + column})
}

// Walk calls f for v and all that it holds.
func (v Value) Walk(f func(Value)) {
	f(v)
	for _, m := range v.Members() {
		m.Value.Walk(f)
	}
	for _, item := range v.Items() {
		item.Walk(f)
	}
}

// resolve follows an alias.
func resolve(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// each calls f for the members of a mapping; those that it merges (<<) come first,
// as its own override them.
func each(n *yaml.Node, f func(key, value *yaml.Node, merged bool)) {
	if n == nil || n.Kind != yaml.MappingNode {
		return
	}
	merge := func(from *yaml.Node) {
		each(resolve(from), func(key, value *yaml.Node, _ bool) { f(key, value, true) })
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if !isMerge(n.Content[i]) {
			continue
		}
		from := resolve(n.Content[i+1])
		if from.Kind != yaml.SequenceNode {
			merge(from)
			continue
		}
		for _, one := range slices.Backward(from.Content) { // the first of them wins
			merge(one)
		}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if !isMerge(n.Content[i]) {
			f(n.Content[i], n.Content[i+1], false)
		}
	}
}

func isMerge(key *yaml.Node) bool {
	return key.Kind == yaml.ScalarNode && key.Value == "<<" && key.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) == 0
}
