package workload

import (
	"fmt"
	"regexp"
	"strings"

	"azwi/internal/document"
)

// A Shape says where objects of a kind keep what becomes pods and service accounts.
//
// Places are paths of member names with dots between them. A name that ends in []
// is a list, and each of its items is meant; * is each member of a mapping; the path
// "." is the object itself.
type Shape struct {
	// Group of the API, empty for the core one.
	Group string `json:"group"`
	Kind  string `json:"kind"`
	// Pods are the places that become pods.
	Pods []Place `json:"pods"`
	// Accounts are the places of the metadata of service accounts that the kind's
	// controller makes.
	Accounts []string `json:"accounts"`
}

// A Place is where one sort of pods comes from: either a whole pod template, or
// places of metadata alone.
type Place struct {
	// Template is the path of a pod template: metadata and spec, as in a Deployment.
	Template string `json:"template"`
	// Metadata is the path of a mapping whose labels and annotations the pods get.
	Metadata string `json:"metadata"`
	// Labels and Annotations are their paths where they have no common Metadata.
	Labels      string `json:"labels"`
	Annotations string `json:"annotations"`
	// ServiceAccountName is the path of the name, where there is no Template.
	ServiceAccountName string `json:"serviceAccountName"`
}

// LabelsPath is the path of the pods' labels, empty where there is none.
func (p Place) LabelsPath() string { return p.part(p.Labels, "labels") }

// AnnotationsPath is the path of the pods' annotations, empty where there is none.
func (p Place) AnnotationsPath() string { return p.part(p.Annotations, "annotations") }

func (p Place) part(own, name string) string {
	switch {
	case p.Template == ".":
		return "metadata." + name
	case p.Template != "":
		return p.Template + ".metadata." + name
	case p.Metadata != "":
		return p.Metadata + "." + name
	}
	return own
}

// Shapes is a table of kinds; an earlier one of a kind hides a later one.
type Shapes []Shape

// Find returns the shape of an object. Any version of its group will do.
func (s Shapes) Find(apiVersion, kind string) (Shape, bool) {
	group := Group(apiVersion)
	for _, shape := range s {
		if shape.Kind == kind && shape.Group == group {
			return shape, true
		}
	}
	return Shape{}, false
}

// ReadShapes reads a file of kinds, strictly. All mistakes are reported together.
func ReadShapes(name string, text []byte) (Shapes, error) {
	var file struct {
		Kinds Shapes `json:"kinds"`
	}
	d := document.Read(name, text, &file)
	path := regexp.MustCompile(`^(\.|([A-Za-z0-9_-]+(\[\])?|\*)(\.([A-Za-z0-9_-]+(\[\])?|\*))*)$`)
	check := func(field, value string) {
		if value != "" && !path.MatchString(value) {
			d.Fail(field, `want a path of names, such as spec.template or spec.tasks[].template`)
		}
	}
	if len(file.Kinds) == 0 && d.Err() == nil {
		d.Fail("kinds", "name at least one kind")
	}
	for i, s := range file.Kinds {
		at := fmt.Sprintf("kinds[%d]", i)
		if s.Kind == "" {
			d.Fail(at+".kind", "is missing")
		}
		if strings.Contains(s.Group, "/") {
			d.Fail(at+".group", "want the group alone, without a version")
		}
		if len(s.Pods) == 0 && len(s.Accounts) == 0 {
			d.Fail(at, "want pods or accounts: the places where objects of the kind keep them")
		}
		for j, p := range s.Pods {
			at := fmt.Sprintf("%s.pods[%d]", at, j)
			others := p.Metadata + p.Labels + p.Annotations
			switch {
			case p.Template == "" && others == "":
				d.Fail(at, "want template, metadata, labels or annotations")
			case p.Template != "" && others+p.ServiceAccountName != "", p.Metadata != "" && p.Labels+p.Annotations != "":
				d.Fail(at, "want a template, or metadata, or labels and annotations, not several of them")
			}
			for _, field := range []struct{ name, value string }{
				{"template", p.Template},
				{"metadata", p.Metadata},
				{"labels", p.Labels},
				{"annotations", p.Annotations},
				{"serviceAccountName", p.ServiceAccountName},
			} {
				check(at+"."+field.name, field.value)
			}
		}
		for j, p := range s.Accounts {
			check(fmt.Sprintf("%s.accounts[%d]", at, j), p)
		}
	}
	return file.Kinds, d.Err()
}
