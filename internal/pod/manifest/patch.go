package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	sigsyaml "sigs.k8s.io/yaml"

	"azwi/internal/pod/inject"
)

// Patch returns the document's text with a patch applied. Whatever the patch does
// not touch keeps its text, comments and order. Where the text does not allow that
// (what is to be changed is in flow style, or behind an alias), the document is
// written anew in its order, with its comments. The result always reads as the
// patched object: anything else is an error.
func (d *Document) Patch(ops []inject.Op) ([]byte, error) {
	if len(ops) == 0 {
		return d.Text, nil
	}
	if d.Err != nil {
		return nil, d.Err
	}
	if _, ok := d.value.(map[string]any); !ok || d.root == nil {
		return nil, fmt.Errorf("%s: not an object", d.position(d.root))
	}
	want, err := d.patchedValue(ops)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.position(d.root), err)
	}
	if !d.isJSON {
		if text, ok := d.edit(ops); ok && d.reads(text, want) {
			return text, nil
		}
	}
	text, err := d.rewrite(ops)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.position(d.root), err)
	}
	if !d.reads(text, want) {
		return nil, fmt.Errorf("%s: the changed document can't be written as YAML: write it in block style, without anchors", d.position(d.root))
	}
	return text, nil
}

func (d *Document) reads(text []byte, want any) bool {
	parts := Parse(d.File, text).Documents
	return len(parts) == 1 && parts[0].Err == nil && reflect.DeepEqual(parts[0].value, want)
}

// patchedValue applies the patch as the API server does.
func (d *Document) patchedValue(ops []inject.Op) (any, error) {
	before, err := json.Marshal(d.value)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(ops)
	if err != nil {
		return nil, err
	}
	patch, err := jsonpatch.DecodePatch(raw)
	if err != nil {
		return nil, err
	}
	after, err := patch.Apply(before)
	if err != nil {
		return nil, err
	}
	return decode(after)
}

// rewrite applies the patch to the nodes and writes them all.
func (d *Document) rewrite(ops []inject.Op) ([]byte, error) {
	budget := maxNodes
	root, err := expand(d.root, &budget)
	if err != nil {
		return nil, err
	}
	for _, op := range ops {
		if err := apply(root, op); err != nil {
			return nil, err
		}
	}
	var out bytes.Buffer
	if d.isJSON {
		lead := d.Text[:len(d.Text)-len(bytes.TrimLeft(d.Text, " \t\r\n"))]
		trail := d.Text[len(bytes.TrimRight(d.Text, " \t\r\n")):]
		out.Write(lead)
		var compact bytes.Buffer
		if err := jsonOfNode(&compact, root); err != nil {
			return nil, err
		}
		if indent := indentOf(d.Text); indent == "" {
			out.Write(compact.Bytes())
		} else if err := json.Indent(&out, compact.Bytes(), "", indent); err != nil {
			return nil, err
		}
		out.Write(trail)
		return out.Bytes(), nil
	}
	if line := d.Text[:lineLength(d.Text)]; isMarker(line, "---") {
		out.Write(line)
	}
	text, err := encode(root, d.compactLists())
	out.Write(text)
	return out.Bytes(), err
}

// maxNodes bounds a document whose aliases are written out.
const maxNodes = 1 << 20

// expand copies nodes, aliases and merges written out, as a change on one place
// must not show on another.
func expand(n *yaml.Node, budget *int) (*yaml.Node, error) {
	if *budget--; *budget < 0 {
		return nil, errors.New("the document's aliases make it too large")
	}
	source := resolve(n)
	c := *source
	c.Anchor, c.Alias, c.Content = "", nil, nil
	if source != n {
		c.HeadComment, c.LineComment, c.FootComment = n.HeadComment, n.LineComment, n.FootComment
	}
	if source.Kind != yaml.MappingNode {
		for _, child := range source.Content {
			copied, err := expand(child, budget)
			if err != nil {
				return nil, err
			}
			c.Content = append(c.Content, copied)
		}
		return &c, nil
	}
	var err error
	at := map[string]int{}
	each(source, func(key, value *yaml.Node, _ bool) {
		if err != nil {
			return
		}
		var k, v *yaml.Node
		if k, err = expand(key, budget); err != nil {
			return
		}
		if v, err = expand(value, budget); err != nil {
			return
		}
		if i, ok := at[k.Value]; ok {
			c.Content[i], c.Content[i+1] = k, v
			return
		}
		at[k.Value] = len(c.Content)
		c.Content = append(c.Content, k, v)
	})
	return &c, err
}

// apply changes nodes by one operation.
func apply(root *yaml.Node, op inject.Op) error {
	value, err := nodeOf(op.Value)
	if err != nil {
		return err
	}
	tokens := pointer(op.Path)
	parent := root
	for _, token := range tokens[:len(tokens)-1] {
		if parent = child(parent, token); parent == nil {
			return fmt.Errorf("there is no %s", op.Path)
		}
	}
	last := tokens[len(tokens)-1]
	if parent.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(parent.Content); i += 2 {
			if parent.Content[i].Value == last {
				parent.Content[i+1] = value
				return nil
			}
		}
		parent.Content = append(parent.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: last}, value)
		return nil
	}
	index := len(parent.Content)
	if last != "-" {
		if index, err = strconv.Atoi(last); err != nil || index < 0 || index > len(parent.Content) {
			return fmt.Errorf("there is no %s", op.Path)
		}
	}
	if op.Op == "replace" {
		if index == len(parent.Content) {
			return fmt.Errorf("there is no %s", op.Path)
		}
		parent.Content[index] = value
		return nil
	}
	parent.Content = append(parent.Content, nil)
	copy(parent.Content[index+1:], parent.Content[index:])
	parent.Content[index] = value
	return nil
}

// child returns the member or item of that name, or nil.
func child(n *yaml.Node, token string) *yaml.Node {
	switch n.Kind {
	case yaml.MappingNode:
		var found *yaml.Node
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == token {
				found = n.Content[i+1]
			}
		}
		return found
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(token); err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i]
		}
	}
	return nil
}

// pointer splits a JSON pointer (RFC 6901).
func pointer(path string) []string {
	tokens := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, t := range tokens {
		tokens[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(t)
	}
	return tokens
}

// nodeOf is a value as nodes in block style.
func nodeOf(value any) (*yaml.Node, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	node := nodeOfJSON(raw)
	if node == nil {
		return nil, errors.New("the value is not valid JSON")
	}
	plain(node)
	return node, nil
}

// plain drops what tells of JSON: the encoder chooses quotes where they are needed.
func plain(n *yaml.Node) {
	n.Line, n.Column = 0, 0
	if len(n.Content) > 0 || n.Kind == yaml.ScalarNode && (n.Tag != "!!str" || readsAsItself(n.Value)) {
		n.Style = 0
	}
	for _, c := range n.Content {
		plain(c)
	}
}

// readsAsItself reports whether a string needs no quotes. The encoder knows what
// YAML 1.2 would take for something else, kubectl reads YAML 1.1.
func readsAsItself(s string) bool {
	if strings.Contains(s, "\n") {
		return true // written as a block
	}
	raw, err := sigsyaml.YAMLToJSON([]byte(s))
	if err != nil {
		return false
	}
	value, err := decode(raw)
	return err == nil && value == any(s)
}

// encode writes nodes as YAML. Compact: lists are not indented below their key.
func encode(n *yaml.Node, compact bool) ([]byte, error) {
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if compact {
		e.CompactSeqIndent()
	}
	if err := e.Encode(n); err != nil {
		return nil, err
	}
	return out.Bytes(), e.Close()
}
