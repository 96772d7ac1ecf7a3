package manifest

import (
	"strconv"
	"strings"
)

// An Object is a Kubernetes object in a document, or in a list in one.
type Object struct {
	// Document it is in.
	Document *Document
	// Pointer is the JSON pointer (RFC 6901) to it in the document.
	Pointer string
	// Value of the object: a mapping.
	Value Value
	// APIVersion, Kind, Namespace and Name as the object has them.
	APIVersion, Kind, Namespace, Name string
}

// Objects returns the document's object, or those of its list.
func (d *Document) Objects() []Object {
	root, ok := d.Root()
	if !ok {
		return nil
	}
	return objects(d, "", root)
}

func objects(d *Document, pointer string, v Value) []Object {
	if _, ok := v.json.(map[string]any); !ok {
		return nil
	}
	o := Object{Document: d, Pointer: pointer, Value: v}
	o.APIVersion, _ = v.Get("apiVersion").Text()
	o.Kind, _ = v.Get("kind").Text()
	o.Namespace, _ = v.Get("metadata", "namespace").Text()
	o.Name, _ = v.Get("metadata", "name").Text()
	items := v.Get("items")
	if _, list := items.json.([]any); !list || !strings.HasSuffix(o.Kind, "List") {
		return []Object{o}
	}
	var all []Object
	for i, item := range items.Items() {
		all = append(all, objects(d, pointer+"/items/"+strconv.Itoa(i), item)...)
	}
	return all
}
