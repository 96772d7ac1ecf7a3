package lint

import (
	"path"
	"path/filepath"
	"strings"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/pod/inject"
	"azwi/internal/pod/manifest"
)

// recordTemplates remembers of a file whether all pod templates in it opt in.
func (l *linter) recordTemplates(o manifest.Object, places []podPlace) {
	file := path.Clean(filepath.ToSlash(o.Document.File))
	for _, p := range places {
		if p.template.Exists() {
			before, known := l.optedIn[file]
			l.optedIn[file] = (before || !known) && l.optsIn(p.labels.Get(contract.UseLabel))
		}
	}
}

// kustomizations looks at what Kustomize adds to the objects that it builds, once
// those are known.
//
// https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/labels/
func (l *linter) kustomizations() {
	annotations := inject.Place{Name: "annotation that Kustomize adds", Keys: append(inject.Places()[1].Keys, inject.Places()[3].Keys...)}
	labels := inject.Place{Name: "label that Kustomize adds", Keys: []string{contract.UseLabel}}
	for _, o := range l.objects {
		if o.Kind != "Kustomization" && o.Kind != "Component" || !strings.HasPrefix(o.APIVersion, "kustomize.config.k8s.io/") {
			continue
		}
		l.added(o, o.Value.Get("commonAnnotations"), annotations)
		l.added(o, o.Value.Get("commonLabels"), labels)
		for _, item := range o.Value.Get("labels").Items() {
			pairs := item.Get("pairs")
			l.added(o, pairs, labels)
			if use := pairs.Get(contract.UseLabel); use.Exists() && !reachesPods(item) && !l.resourcesOptIn(o) {
				l.find(finding.KustomizationLabels(), o, use.KeyPosition())
			}
		}
	}
}

func (l *linter) added(o manifest.Object, of manifest.Value, place inject.Place) {
	for _, m := range of.Members() {
		if w, ok := place.Check(m.Key); ok && w.Code() == finding.CodeMisplacedKey {
			l.find(finding.KustomizationKey(w), o, m.Value.KeyPosition())
		}
	}
}

// reachesPods reports whether an item of labels is for pod templates too.
func reachesPods(item manifest.Value) bool {
	reaches := item.Get("includeTemplates").JSON() == true || item.Get("includeSelectors").JSON() == true
	for _, field := range item.Get("fields").Items() {
		at, _ := field.Get("path").Text()
		reaches = reaches || strings.Contains(at, "template/metadata/labels")
	}
	return reaches
}

// resourcesOptIn reports whether all resources of a Kustomization are in the input
// and their pods opt in by themselves.
func (l *linter) resourcesOptIn(o manifest.Object) bool {
	any := false
	for _, r := range o.Value.Get("resources").Items() {
		name, _ := r.Text()
		file := path.Join(path.Dir(filepath.ToSlash(o.Document.File)), name)
		for at, all := range l.optedIn {
			if at != file && !strings.HasPrefix(at, file+"/") {
				continue
			}
			if !all {
				return false
			}
			any = true
		}
	}
	return any
}
