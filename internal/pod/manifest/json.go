package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// nodeOfJSON reads a JSON text, known to be valid, into the same nodes as YAML has,
// which keep order and places. It returns nil for a text that is not valid.
func nodeOfJSON(text []byte) *yaml.Node {
	r := jsonReader{text: text, decoder: json.NewDecoder(bytes.NewReader(text)), line: 1}
	r.decoder.UseNumber()
	node, err := r.value()
	if err != nil {
		return nil
	}
	return node
}

type jsonReader struct {
	text    []byte
	decoder *json.Decoder
	// The line of the last token, where it begins, and its offset.
	line, lineBegin, at int
}

// token returns the next token and a node with its place.
func (r *jsonReader) token() (json.Token, *yaml.Node, error) {
	at := int(r.decoder.InputOffset())
	for at < len(r.text) && bytes.IndexByte([]byte(" \t\r\n,:"), r.text[at]) >= 0 {
		at++
	}
	for ; r.at < at; r.at++ {
		if r.text[r.at] == '\n' {
			r.line++
			r.lineBegin = r.at + 1
		}
	}
	token, err := r.decoder.Token()
	return token, &yaml.Node{Line: r.line, Column: at - r.lineBegin + 1}, err
}

func (r *jsonReader) value() (*yaml.Node, error) {
	token, node, err := r.token()
	if err != nil {
		return nil, err
	}
	node.Kind = yaml.ScalarNode
	switch token := token.(type) {
	case json.Delim:
		node.Kind, node.Tag, node.Style = yaml.SequenceNode, "!!seq", yaml.FlowStyle
		if token == '{' {
			node.Kind, node.Tag = yaml.MappingNode, "!!map"
		}
		for r.decoder.More() {
			child, err := r.value()
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, child)
		}
		_, _, err := r.token()
		return node, err
	case string:
		node.Tag, node.Value, node.Style = "!!str", token, yaml.DoubleQuotedStyle
	case json.Number:
		node.Tag, node.Value = "!!int", token.String()
		if strings.ContainsAny(node.Value, ".eE") {
			node.Tag = "!!float"
		}
	case bool:
		node.Tag, node.Value = "!!bool", fmt.Sprint(token)
	default:
		node.Tag, node.Value = "!!null", "null"
	}
	return node, nil
}

// jsonOfNode writes nodes of JSON in their order, without blanks.
func jsonOfNode(to *bytes.Buffer, n *yaml.Node) error {
	switch n.Kind {
	case yaml.MappingNode, yaml.SequenceNode:
		open, end := byte('['), byte(']')
		if n.Kind == yaml.MappingNode {
			open, end = '{', '}'
		}
		to.WriteByte(open)
		for i, child := range n.Content {
			switch {
			case i == 0:
			case n.Kind == yaml.MappingNode && i%2 == 1:
				to.WriteByte(':')
			default:
				to.WriteByte(',')
			}
			if err := jsonOfNode(to, child); err != nil {
				return err
			}
		}
		to.WriteByte(end)
		return nil
	case yaml.ScalarNode:
		if n.Tag != "!!str" {
			to.WriteString(n.Value)
			return nil
		}
		e := json.NewEncoder(to)
		e.SetEscapeHTML(false)
		err := e.Encode(n.Value)
		to.Truncate(to.Len() - 1) // the line's end
		return err
	}
	return errors.New("no JSON")
}

// indentOf finds out how a JSON text is indented. Empty: it is on one line.
func indentOf(text []byte) string {
	text = bytes.TrimLeft(text, " \t\r\n")
	line := lineLength(text)
	rest := text[line:]
	return string(rest[:len(rest)-len(bytes.TrimLeft(rest, " \t"))])
}
