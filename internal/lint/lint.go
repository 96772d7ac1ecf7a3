package lint

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"azwi/contract"
	"azwi/internal/inject"
	"azwi/internal/manifest"
	"azwi/internal/workload"
)

// A Finding is one mistake at one place.
type Finding struct {
	Rule     string
	Severity Severity
	Position manifest.Position
	// Kind, Namespace and Name of the object; empty for a document that can't be
	// read.
	Kind, Namespace, Name string
	// Message says what is wrong and what to do about it.
	Message string
}

// Config of Lint.
type Config struct {
	// Namespace of objects that name none. Defaults to default, as in kubectl.
	Namespace string
	// Layout is where the webhook puts the token. Defaults to that of v1.6.0.
	Layout inject.Layout
	// Disabled rules find nothing.
	Disabled []string
}

// CheckRules returns an error if one of the names is no rule's.
func CheckRules(names []string) error {
	for _, name := range names {
		if _, ok := rule(name); !ok {
			return fmt.Errorf("there is no rule %q; azwi lint --rules lists them", name)
		}
	}
	return nil
}

// Lint returns what it finds, ordered by place.
func Lint(files []*manifest.File, c Config) []Finding {
	c.Namespace = cmp.Or(c.Namespace, "default")
	l := linter{config: c, accounts: map[string]manifest.Object{}, issuers: map[string]manifest.Value{}}
	for _, file := range files {
		for _, d := range file.Documents {
			l.document(d)
		}
	}
	for _, o := range l.objects {
		l.object(o)
	}
	order := map[string]int{}
	for i, f := range files {
		order[f.Name] = i
	}
	slices.SortStableFunc(l.findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(order[a.Position.File], order[b.Position.File]),
			cmp.Compare(a.Position.Line, b.Position.Line), cmp.Compare(a.Position.Column, b.Position.Column))
	})
	return slices.Compact(l.findings)
}

type linter struct {
	config   Config
	objects  []manifest.Object
	accounts map[string]manifest.Object // by namespace/name
	issuers  map[string]manifest.Value  // by what is left without slash and case
	findings []Finding
}

func (l *linter) find(name string, o manifest.Object, at manifest.Position, format string, args ...any) {
	r, ok := rule(name)
	if !ok || slices.Contains(l.config.Disabled, name) {
		return
	}
	namespace := o.Namespace
	if o.Kind != "" {
		namespace = l.namespace(o)
	}
	l.findings = append(l.findings, Finding{r.Name, r.Severity, at, o.Kind, namespace, o.Name, fmt.Sprintf(format, args...)})
}

func (l *linter) namespace(o manifest.Object) string { return cmp.Or(o.Namespace, l.config.Namespace) }

func (l *linter) document(d *manifest.Document) {
	if d.Err != nil {
		if syntax, ok := d.Err.(*manifest.SyntaxError); ok { //nolint:errorlint // the document's own, not wrapped
			l.find(ruleSyntax, manifest.Object{}, syntax.Position, "%s", syntax.Message)
		}
		return
	}
	for _, o := range d.Objects() {
		l.objects = append(l.objects, o)
		if isAccount(o) {
			l.accounts[l.namespace(o)+"/"+o.Name] = o
		}
	}
}

func isAccount(o manifest.Object) bool { return o.APIVersion == "v1" && o.Kind == "ServiceAccount" }

// templateOf returns the pod template and whether there is one. Other people's kinds
// have it where Deployments have.
func templateOf(o manifest.Object) (manifest.Value, bool) {
	kind, ok := workload.Find(o.APIVersion, o.Kind)
	if !ok {
		kind.Template = []string{"spec", "template"}
	}
	t := o.Value.Get(kind.Template...)
	containers := t.Get("spec", "containers")
	return t, t.Exists() && (ok || containers.Exists())
}

func (l *linter) object(o manifest.Object) {
	l.duplicates(o)
	l.podIdentity(o)
	l.federation(o)
	template, hasTemplate := templateOf(o)
	switch {
	case isAccount(o):
		places := inject.Places()
		l.keys(o, o.Value.Get("metadata"), places[2], places[3])
		l.account(o)
	case hasTemplate:
		if len(template.Position().File) > 0 && template.Position() != o.Value.Position() {
			l.otherKeys(o)
			l.labelOnWorkload(o, template)
		}
		places := inject.Places()
		l.keys(o, template.Get("metadata"), places[0], places[1])
		l.workload(o, template)
	default:
		l.otherKeys(o)
	}
}

// duplicates looks for keys that hide others of their mapping.
func (l *linter) duplicates(o manifest.Object) {
	o.Value.Walk(func(v manifest.Value) {
		for _, m := range v.Members() {
			if m.Again {
				l.find(ruleDuplicateKey, o, m.Value.KeyPosition(), "key %s occurs before in the same mapping: only this one counts, and what the other holds is lost", strconv.Quote(m.Key))
			}
		}
	})
}

// keys looks at the keys and values of metadata whose labels and annotations are
// read at the given places.
func (l *linter) keys(o manifest.Object, metadata manifest.Value, labels, annotations inject.Place) {
	for _, part := range []struct {
		name  string
		place inject.Place
	}{{"labels", labels}, {"annotations", annotations}} {
		for _, m := range metadata.Get(part.name).Members() {
			if w, ok := part.place.Check(m.Key); ok {
				l.find(string(w.Reason), o, m.Value.KeyPosition(), "%s", w.Message)
			}
			if _, isString := m.Value.Text(); !isString && isOurs(m.Key) && !m.Again {
				meant := m.Value.Source()
				if m.Value.JSON() == true {
					meant = contract.UseLabelValue // also where a yes was written
				}
				l.find(ruleNotString, o, m.Value.Position(), "the value of %s must be a string, or the API server refuses the object: write %s", m.Key, strconv.Quote(meant))
			}
		}
	}
}

func isOurs(key string) bool { return strings.HasPrefix(key, contract.Prefix) }

// otherKeys looks at metadata where none of our keys is read.
func (l *linter) otherKeys(o manifest.Object) {
	name := func(what string) inject.Place {
		return inject.Place{Name: what + " of the " + cmp.Or(o.Kind, "object")}
	}
	l.keys(o, o.Value.Get("metadata"), name("label"), name("annotation"))
	if _, isWorkload := templateOf(o); isWorkload {
		return
	}
	if label := o.Value.Get("metadata", "labels", contract.UseLabel); label.Exists() {
		l.find(string(inject.ReasonMisplacedKey), o, label.KeyPosition(), "label of the %s %s has no effect: it is read as label of the pod, so it belongs into the pod template", o.Kind, strconv.Quote(contract.UseLabel))
	}
}

// labelOnWorkload is the commonest mistake: the label on the Deployment itself.
func (l *linter) labelOnWorkload(o manifest.Object, template manifest.Value) {
	label := o.Value.Get("metadata", "labels", contract.UseLabel)
	if label.Exists() && !template.Get("metadata", "labels", contract.UseLabel).Exists() {
		l.find(ruleLabelNotOnPod, o, label.KeyPosition(), "the label %s has no effect on a %s: put it into the labels of its pod template", contract.UseLabel, o.Kind)
	}
}

// account looks at what a service account says, whoever uses it: injection into a
// pod that says nothing itself tells.
func (l *linter) account(o manifest.Object) {
	a := l.metadata(o)
	annotations := o.Value.Get("metadata", "annotations")
	if tenant, ok := a.Annotations[contract.TenantIDAnnotation]; ok && tenant != "" && !inject.IsGUID(tenant) && (!inject.IsTenant(tenant) || !strings.Contains(tenant, ".")) {
		l.find(ruleTenantID, o, annotations.Get(contract.TenantIDAnnotation).Position(),
			"annotation %s is %s: use the tenant's ID, a GUID, or a domain of it", contract.TenantIDAnnotation, quote(tenant))
	}
	pod := `{"metadata":{"labels":{"` + contract.UseLabel + `":"` + contract.UseLabelValue + `"}},"spec":{"containers":[]}}`
	parsed, err := inject.Parse([]byte(pod))
	if err != nil {
		return
	}
	result := parsed.Inject(a, inject.Settings{})
	for _, w := range result.Warnings {
		if w.Reason == inject.ReasonClientIDNotGUID {
			l.find(string(w.Reason), o, annotations.Get(w.Key).Position(), "%s", w.Message)
		}
	}
	if d := result.Denial; d != nil {
		l.find(string(d.Reason), o, annotations.Get(d.Key).Position(), "%s", d.Message)
	}
}

// metadata is what injection needs of an account. A value that is no string is
// found elsewhere; here it counts as what it is written as.
func (l *linter) metadata(o manifest.Object) inject.Account {
	return inject.Account{
		Namespace: l.namespace(o), Name: o.Name,
		Labels:      stringsOf(o.Value.Get("metadata", "labels")),
		Annotations: stringsOf(o.Value.Get("metadata", "annotations")),
	}
}

func stringsOf(v manifest.Value) map[string]string {
	all := map[string]string{}
	for _, m := range v.Members() {
		if _, isMapping := m.Value.JSON().(map[string]any); !isMapping {
			all[m.Key] = m.Value.Source() // of two, the last one
		}
	}
	return all
}

// workload looks at a pod template.
func (l *linter) workload(o manifest.Object, template manifest.Value) {
	labels := template.Get("metadata", "labels")
	use := labels.Get(contract.UseLabel)
	if value, ok := use.Text(); ok && value != contract.UseLabelValue && value != "false" {
		l.find(ruleLabelValue, o, use.Position(), "label %s is %s: only %q opts in", contract.UseLabel, quote(value), contract.UseLabelValue)
	}
	name := "default"
	at := template.Position()
	for _, key := range []string{"serviceAccount", "serviceAccountName"} {
		if v := template.Get("spec", key); v.Exists() {
			if text, ok := v.Text(); ok && text != "" {
				name, at = text, v.Position()
			}
		}
	}
	a := inject.Account{Namespace: l.namespace(o), Name: name}
	account, known := l.accounts[a.Namespace+"/"+a.Name]
	if known {
		a = l.metadata(account)
	}
	if !optsIn(use) {
		if known && a.Annotations[contract.ClientIDAnnotation] != "" && !use.Exists() && !o.Value.Get("metadata", "labels", contract.UseLabel).Exists() {
			l.find(ruleLabelMissing, o, template.KeyPosition(), "service account %s has a client ID, but the pods lack the label %s: %q and get nothing of it", quote(a.Name), contract.UseLabel, contract.UseLabelValue)
		}
		return
	}
	if !known {
		l.find(ruleAccountUnknown, o, at, "service account %s is not in the input: its annotations were not checked", quote(a.Namespace+"/"+a.Name))
		a.Annotations = map[string]string{contract.ClientIDAnnotation: "00000000-0000-0000-0000-000000000000"}
	}
	l.injection(o, template, a, at)
	l.volumes(o, template)
	l.environment(o, template)
}

// optsIn takes a bare true for what it was meant as: that it is no string is a
// finding of its own, and the rest shall be found too.
func optsIn(use manifest.Value) bool {
	return use.JSON() == true || use.JSON() == contract.UseLabelValue
}

// injection reports what injection itself warns of and denies.
func (l *linter) injection(o manifest.Object, template manifest.Value, a inject.Account, account manifest.Position) {
	pod, ok := readable(template)
	if !ok {
		return
	}
	spec, _ := pod["spec"].(map[string]any)
	metadata, _ := pod["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]string)
	// Account's own values are its own findings.
	delete(a.Annotations, contract.TokenExpirationAnnotation)
	for range len(inject.Places()[1].Keys) + 2 {
		parsed, err := parse(pod)
		if err != nil {
			l.find(ruleUnreadableCause, o, template.Position(), "%v", err)
			return
		}
		result := parsed.Inject(a, inject.Settings{Proxy: inject.Proxy{Image: "proxy", NativeSidecar: true}})
		if d := result.Denial; d != nil {
			l.find(string(d.Reason), o, l.place(template, d.Subject), "%s", d.Message)
			// With this one out of the way, find the next.
			switch d.Reason {
			case inject.ReasonProxyUID:
				return
			case inject.ReasonHostNetwork:
				delete(spec, "hostNetwork")
			default:
				delete(annotations, d.Key)
			}
			continue
		}
		for _, w := range result.Warnings {
			switch w.Reason {
			case inject.ReasonNearMissKey, inject.ReasonMisplacedKey, inject.ReasonClientIDNotGUID:
				// found where they are written
			case inject.ReasonClientIDMissing:
				l.find(string(w.Reason), o, account, "%s", w.Message)
			default:
				l.find(string(w.Reason), o, l.place(template, w.Subject), "%s", w.Message)
			}
		}
		return
	}
}

// place finds what a denial or warning is about.
func (l *linter) place(template manifest.Value, subject inject.Subject) manifest.Position {
	if v := template.Get("metadata", "annotations", subject.Key); v.Exists() {
		return v.Position()
	}
	for _, c := range containers(template) {
		if name, _ := c.Get("name").Text(); subject.Container != "" && name == subject.Container {
			return c.Position()
		}
	}
	return template.Position()
}

func containers(template manifest.Value) []manifest.Value {
	spec := template.Get("spec")
	return slices.Concat(spec.Get("initContainers").Items(), spec.Get("containers").Items())
}

// readable is the pod as JSON, with labels and annotations that are strings.
func readable(template manifest.Value) (map[string]any, bool) {
	spec, ok := template.Get("spec").JSON().(map[string]any)
	if !ok {
		return nil, false
	}
	spec = maps.Clone(spec)
	metadata := template.Get("metadata")
	return map[string]any{"spec": spec, "metadata": map[string]any{
		"labels": stringsOf(metadata.Get("labels")), "annotations": stringsOf(metadata.Get("annotations")),
	}}, true
}
