package manifest

import (
	"path/filepath"
	"slices"
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
	// APIVersion, Kind, Namespace and Name as the object has them. Items of a list
	// such as DeploymentList may leave the first two to it.
	APIVersion, Kind, Namespace, Name string
}

// Objects returns the document's object, or those of its list.
func (d *Document) Objects() []Object {
	root, ok := d.Root()
	if !ok {
		return nil
	}
	o := Object{Document: d, Value: root}
	if isKustomization(d.File) {
		o.APIVersion, o.Kind = "kustomize.config.k8s.io/v1beta1", "Kustomization"
	}
	return objects(o)
}

// NotObjects returns the places of what the document holds that is not a Kubernetes
// object, for it is not a mapping or lacks apiVersion or kind.
func (d *Document) NotObjects() []Position {
	root, ok := d.Root()
	if !ok {
		return nil
	}
	if _, ok := root.json.(map[string]any); !ok {
		return []Position{root.Position()}
	}
	var at []Position
	for _, o := range d.Objects() {
		if o.APIVersion == "" || o.Kind == "" {
			at = append(at, o.Value.Position())
		}
	}
	return at
}

// objects returns the object with what is written in it, or those of its list.
func objects(o Object) []Object {
	v := o.Value
	if _, ok := v.json.(map[string]any); !ok {
		return nil
	}
	apiVersion, _ := v.Get("apiVersion").Text()
	kind, _ := v.Get("kind").Text()
	if apiVersion != "" || kind != "" {
		o.APIVersion, o.Kind = apiVersion, kind
	}
	o.Namespace, _ = v.Get("metadata", "namespace").Text()
	o.Name, _ = v.Get("metadata", "name").Text()
	items := v.Get("items")
	if _, list := items.json.([]any); !list || !strings.HasSuffix(o.Kind, "List") {
		return []Object{o}
	}
	return listed(o, items)
}

// isKustomization reports whether Kustomize takes a file for its own by its name,
// whether or not it says its kind.
// https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/
func isKustomization(path string) bool {
	return slices.Contains([]string{"kustomization.yaml", "kustomization.yml", "Kustomization"}, filepath.Base(path))
}

// listed returns the objects that are the items of a list.
func listed(o Object, items Value) []Object {
	var all []Object
	for i, value := range items.Items() {
		item := Object{Document: o.Document, Pointer: o.Pointer + "/items/" + strconv.Itoa(i), Value: value}
		// The items of a DeploymentList need not say that they are Deployments.
		// https://pkg.go.dev/k8s.io/apimachinery/pkg/apis/meta/v1/unstructured#UnstructuredList
		if kind := strings.TrimSuffix(o.Kind, "List"); kind != "" {
			item.APIVersion, item.Kind = o.APIVersion, kind
		}
		all = append(all, objects(item)...)
	}
	return all
}
