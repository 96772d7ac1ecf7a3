package lint

import (
	"slices"
	"strings"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/pod/inject"
	"azwi/internal/pod/manifest"
)

// maxTexts bounds texts in texts.
const maxTexts = 2

// search looks for our keys, and what nearly is one, anywhere in a value: in the
// values of a Helm release, in custom resources, in texts that are YAML. What has been
// looked at where keys are known to be read is passed over. In an object of Kubernetes'
// own (native) all places are known, so that a key anywhere else is misplaced.
func (l *linter) search(o manifest.Object, v manifest.Value, native bool) {
	s := searcher{l, o, native}
	s.below(v, nil)
}

type searcher struct {
	*linter
	object manifest.Object
	native bool
}

func (l searcher) below(v manifest.Value, path []string) {
	o := l.object
	done := l.checked[v.Position()]
	for _, m := range v.Members() {
		if !done && m.Value.JSON() != nil {
			l.member(m, path)
		}
		l.below(m.Value, append(slices.Clip(path), m.Key))
	}
	for _, item := range v.Items() {
		l.below(item, path)
	}
	l.text(o, v)
}

// member looks at one member of the mapping that has that path.
func (l searcher) member(m manifest.Member, path []string) {
	o := l.object
	name := func(back int) string {
		if len(path) < back {
			return ""
		}
		return strings.ToLower(path[len(path)-back])
	}
	selector := strings.HasPrefix(name(1), "match") || strings.Contains(name(1), "selector")
	// Kyverno writes conditions such as +(key) around keys.
	if selector || strings.ContainsAny(m.Key, "()") {
		return
	}
	harmless := m.Key == contract.UseLabel && name(1) == "labels" && l.opted[o.Value.Position()] // the pods have it too
	if w, ok := l.place(name(1), name(2), name(3)).Check(m.Key); ok && !harmless {
		l.find(w, o, m.Value.KeyPosition())
	}
	switch value := m.Value.JSON().(type) {
	case map[string]any, []any:
		return
	case string:
		// Patterns of policies are no values.
		if value == "" || strings.ContainsAny(value, "*?|!") {
			return
		}
	}
	l.ourValue(o, m)
	if value, _ := m.Value.Text(); m.Key == contract.UseLabel && value != "" && value != contract.UseLabelValue && value != "false" && !l.isPlaceholder(value) {
		l.find(finding.LabelValue(value), o, m.Value.Position())
	}
}

// place says what is read in a mapping, going by its name and those around it.
func (l searcher) place(name, parent, above string) inject.Place {
	read := inject.Places()
	isLabels, isAnnotations := strings.HasSuffix(name, "labels"), strings.HasSuffix(name, "annotations")
	metadata := l.native && parent == "metadata" // but not that of the object or its pods
	switch {
	case metadata && isLabels:
		return inject.Place{Name: "label of the " + above}
	case metadata && isAnnotations:
		return inject.Place{Name: "annotation of the " + above}
	case isLabels:
		return inject.Place{Name: "label", Keys: read[0].Keys}
	case isAnnotations && strings.Contains(parent+name, "serviceaccount"):
		return inject.Place{Name: "annotation", Keys: read[3].Keys}
	case isAnnotations && strings.HasPrefix(name, "pod"):
		return inject.Place{Name: "annotation", Keys: read[1].Keys}
	case isAnnotations:
		return inject.Place{Name: "annotation", Keys: slices.Concat(read[1].Keys, read[3].Keys)}
	case l.native && slices.Contains([]string{"", "metadata", "spec", "template", "jobtemplate"}, name):
		return inject.Place{Name: "member"} // neither a label nor an annotation
	}
	return inject.Place{Name: "key", Keys: slices.Concat(read[0].Keys, read[1].Keys, read[3].Keys)}
}

// text looks at a string that holds YAML with our keys: manifests, or values. One that
// is not YAML is none of our business.
func (l *linter) text(o manifest.Object, v manifest.Value) {
	text, ok := v.Text()
	if !ok || l.depth >= maxTexts || !strings.Contains(text, ":") || !mentions(text) {
		return
	}
	l.depth++
	defer func() { l.depth-- }()
	for _, d := range v.Embedded() {
		for _, inner := range d.Objects() {
			if inner.APIVersion == "" || inner.Kind == "" {
				l.search(o, inner.Value, false)
				continue
			}
			if inner.Namespace == "" {
				inner.Namespace = o.Namespace
			}
			l.object(inner)
		}
	}
}
