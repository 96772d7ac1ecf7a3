package lint

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/guid"
	"azwi/internal/pod/inject"
	"azwi/internal/pod/manifest"
	"azwi/internal/pod/workload"
)

// A Finding is one mistake at one place.
type Finding struct {
	finding.Finding

	// Severity is that of the catalogue, but for placeholders, which may not be left.
	Severity finding.Severity
	Position manifest.Position
	// Also are the other places of the same mistake in the same object: where several
	// overlays of it are in the input.
	Also []manifest.Position
	// Kind, Namespace and Name of the object; empty for a document that can't be
	// read.
	Kind, Namespace, Name string
}

// Config of Lint.
type Config struct {
	// Namespace of objects that name none. Defaults to default, as in kubectl.
	Namespace string
	// Layout is where the webhook puts the token. Defaults to that of v1.6.0.
	Layout inject.Layout
	// OrdinarySidecar is set for clusters without native sidecars, before Kubernetes
	// 1.32.
	OrdinarySidecar bool
	// Disabled rules find nothing.
	Disabled []string
	// Kinds says where pods and service accounts are. Defaults to workload.Known.
	Kinds workload.Shapes
	// Rendered: a placeholder that is left over is an error, in every file.
	Rendered bool
	// Quiet leaves out the note that a file has placeholders.
	Quiet bool
	// Filled are the names of files in which it is one in any case.
	Filled map[string]bool
}

// CheckRules returns an error if one of the names is no rule's.
func CheckRules(names []string) error {
	rules := Rules()
	for _, name := range names {
		if !slices.ContainsFunc(rules, func(e finding.Entry) bool { return string(e.Code) == name }) {
			return fmt.Errorf("there is no rule %q; azwi lint --rules lists them", name)
		}
	}
	return nil
}

// Lint returns what it finds, ordered by place.
func Lint(files []*manifest.File, c Config) []Finding {
	c.Namespace = cmp.Or(c.Namespace, "default")
	if c.Kinds == nil {
		c.Kinds = workload.Known()
	}
	l := linter{
		config: c, placeholder: placeholders(),
		accounts: map[string]manifest.Object{}, issuers: map[string]manifest.Value{},
		checked: map[manifest.Position]bool{}, filledIn: map[manifest.Position]bool{},
		opted: map[manifest.Position]bool{}, optedIn: map[string]bool{},
	}
	for _, file := range files {
		for _, d := range file.Documents {
			l.document(file, d)
		}
	}
	for _, o := range l.objects {
		l.object(o)
	}
	l.kustomizations()
	l.placeholdersLeft()
	order := map[string]int{}
	for i, f := range files {
		order[f.Name] = i
	}
	slices.SortStableFunc(l.findings, func(a, b found) int {
		return cmp.Or(cmp.Compare(order[a.Position.File], order[b.Position.File]),
			cmp.Compare(a.Position.Line, b.Position.Line), cmp.Compare(a.Position.Column, b.Position.Column))
	})
	return together(l.findings)
}

// found is a finding and the object that it is in: its place, unique in the input.
type found struct {
	Finding
	object manifest.Position
}

// together tells once what is the same in several copies of an object, and what was
// found twice.
func together(all []found) []Finding {
	type same struct {
		code             finding.Code
		kind, name, text string
	}
	first := map[same]int{}
	var findings []Finding
	var objects []manifest.Position
	for _, f := range all {
		key := same{f.Code(), f.Kind, f.Name, f.Text()}
		i, ok := first[key]
		switch {
		case ok && f.Name != "" && objects[i] != f.object:
			if !slices.Contains(findings[i].Also, f.Position) {
				findings[i].Also = append(findings[i].Also, f.Position)
			}
			continue
		case slices.ContainsFunc(findings[max(0, len(findings)-8):], func(b Finding) bool { return b.Position == f.Position && b.Code() == f.Code() && b.Text() == f.Text() }):
			continue
		}
		if !ok {
			first[key] = len(findings)
		}
		findings = append(findings, f.Finding)
		objects = append(objects, f.object)
	}
	return findings
}

type linter struct {
	config      Config
	placeholder *regexp.Regexp
	objects     []manifest.Object
	accounts    map[string]manifest.Object // by namespace/name
	issuers     map[string]manifest.Value  // by what is left without slash and case
	optedIn     map[string]bool            // by file: whether all workloads in it opt in
	checked     map[manifest.Position]bool // keys of labels and annotations that are done with
	opted       map[manifest.Position]bool // objects with pods that opt in
	filledIn    map[manifest.Position]bool // placeholders that are in left
	left        []leftover
	depth       int // of texts in texts
	findings    []found
}

// find reports a mistake in an object, at a position.
func (l *linter) find(f finding.Finding, o manifest.Object, at manifest.Position) {
	l.findAs(f.Severity(), f, o, at)
}

func (l *linter) findAs(severity finding.Severity, mistake finding.Finding, o manifest.Object, at manifest.Position) {
	if slices.Contains(l.config.Disabled, string(mistake.Code())) {
		return
	}
	f := found{Finding: Finding{Finding: mistake, Severity: severity, Position: at, Kind: o.Kind}, object: at}
	if o.Kind != "" {
		f.Namespace, f.Name, f.object = l.namespace(o), o.Name, o.Value.Position()
	}
	l.findings = append(l.findings, f)
}

func (l *linter) namespace(o manifest.Object) string { return cmp.Or(o.Namespace, l.config.Namespace) }

func (l *linter) document(file *manifest.File, d *manifest.Document) {
	var syntax *manifest.SyntaxError
	switch {
	case errors.Is(d.Err, manifest.ErrChart):
		l.find(finding.HelmTemplates(filepath.ToSlash(filepath.Dir(d.File))), manifest.Object{}, manifest.Position{File: d.File, Line: 1, Column: 1})
		return
	case errors.As(d.Err, &syntax):
		l.find(syntax.Problem, manifest.Object{}, syntax.Position)
		return
	}
	for _, at := range d.NotObjects() {
		if file.Named {
			l.find(finding.NotManifest(), manifest.Object{}, at)
		}
	}
	for _, o := range d.Objects() {
		l.objects = append(l.objects, o)
		if isAccount(o) {
			l.accounts[l.namespace(o)+"/"+o.Name] = o
		}
	}
}

func isAccount(o manifest.Object) bool { return o.APIVersion == "v1" && o.Kind == "ServiceAccount" }

// isKubernetes reports whether the kind is one of Kubernetes' own.
func isKubernetes(o manifest.Object) bool {
	group := workload.Group(o.APIVersion)
	return o.APIVersion != "" && o.Kind != "" &&
		(slices.Contains([]string{"", "apps", "batch", "autoscaling", "policy", "extensions"}, group) || strings.HasSuffix(group, ".k8s.io") && !strings.Contains(group, "sparkoperator"))
}

// mentions reports whether a text may be about workload identity at all, misspelt or
// not.
func mentions(text string) bool {
	text = strings.ToLower(text)
	return strings.Contains(text, "workload") || strings.Contains(text, "identity")
}

// object looks at one object.
func (l *linter) object(o manifest.Object) {
	concerned := mentions(string(o.Document.Text))
	if concerned {
		l.duplicates(o)
	}
	l.podIdentity(o)
	l.federation(o)
	if isAccount(o) {
		metadata := o.Value.Get("metadata")
		l.accountMetadata(o, metadata)
		l.named(o, metadata)
	} else if o.Kind != "" {
		l.pods(o)
	}
	if concerned {
		l.search(o, o.Value, isKubernetes(o))
	}
}

// A podPlace is where an object has pods: a template, or labels and annotations.
type podPlace struct {
	path                          string
	template, labels, annotations manifest.Value
	account                       manifest.Value // the name, where there is no template
}

// podPlaces returns those that the object fills. It reports false where the kind has
// none that azwi knows. Other people's kinds have their template where Deployments
// have.
func (l *linter) podPlaces(o manifest.Object) ([]podPlace, workload.Shape, bool) {
	shape, ok := l.config.Kinds.Find(o.APIVersion, o.Kind)
	if !ok {
		if !o.Value.Get("spec", "template", "spec", "containers").Exists() {
			return nil, shape, false
		}
		shape.Pods = []workload.Place{{Template: "spec.template"}}
	}
	var places []podPlace
	for _, p := range shape.Pods {
		if p.Template != "" {
			o.Value.Each(p.Template, func(_ string, t manifest.Value) {
				places = append(places, podPlace{
					path: p.LabelsPath(), template: t,
					labels: t.Get("metadata", "labels"), annotations: t.Get("metadata", "annotations"),
				})
			})
			continue
		}
		one := podPlace{path: p.LabelsPath()}
		o.Value.Each(cmp.Or(p.ServiceAccountName, "-"), func(_ string, v manifest.Value) { one.account = v })
		some := false
		o.Value.Each(cmp.Or(p.LabelsPath(), "-"), func(_ string, v manifest.Value) {
			some = true
			places = append(places, podPlace{path: one.path, account: one.account, labels: v})
		})
		o.Value.Each(cmp.Or(p.AnnotationsPath(), "-"), func(_ string, v manifest.Value) {
			some = true
			places = append(places, podPlace{path: one.path, account: one.account, annotations: v})
		})
		if !some {
			places = append(places, one)
		}
	}
	return places, shape, true
}

// pods looks at an object that may have pods and service accounts in it.
func (l *linter) pods(o manifest.Object) {
	places, shape, known := l.podPlaces(o)
	if !known {
		l.otherObject(o)
		return
	}
	read := inject.Places()
	var optsIn, says bool
	for _, p := range places {
		l.keys(o, p.labels, read[0])
		l.keys(o, p.annotations, read[1])
		l.labelValue(o, p.labels)
		use := p.labels.Get(contract.UseLabel)
		says = says || use.Exists()
		optsIn = optsIn || l.optsIn(use)
	}
	made := l.accountsMade(o, shape)
	own := o.Value.Get("metadata")
	l.keys(o, own.Get("labels"), inject.Place{Name: "label of the " + o.Kind, Keys: []string{contract.UseLabel}})
	l.keys(o, own.Get("annotations"), inject.Place{Name: "annotation of the " + o.Kind})
	if label := own.Get("labels", contract.UseLabel); label.Exists() && !says {
		where := "its pod template"
		if len(places) == 0 || !places[0].template.Exists() {
			where = "its pods, " + shape.Pods[0].LabelsPath()
		}
		l.find(finding.LabelNotOnPod(o.Kind, where), o, label.KeyPosition())
		says = true
	}
	if optsIn {
		l.named(o, own)
		l.opted[o.Value.Position()] = true
	}
	l.recordTemplates(o, places)
	for _, p := range places {
		if p.template.Exists() {
			l.workload(o, p.template, says)
			continue
		}
		if name, ok := p.account.Text(); ok && !says {
			if account, ok := l.accounts[l.namespace(o)+"/"+name]; ok && l.metadata(account, account.Value.Get("metadata")).Annotations[contract.ClientIDAnnotation] != "" {
				l.find(finding.LabelMissing(name, p.path), o, p.account.Position())
				says = true
			}
		}
	}
	if made.Exists() && !says && len(places) > 0 {
		l.find(finding.LabelMissing("", places[0].path), o, made.KeyPosition())
	}
}

// accountsMade looks at service accounts that the object has made, and returns the
// client ID of one.
func (l *linter) accountsMade(o manifest.Object, shape workload.Shape) (clientID manifest.Value) {
	for _, path := range shape.Accounts {
		o.Value.Each(path, func(_ string, metadata manifest.Value) {
			l.accountMetadata(o, metadata)
			if id := metadata.Get("annotations", contract.ClientIDAnnotation); id.Exists() {
				clientID = id
			}
		})
	}
	return clientID
}

// accountMetadata looks at the metadata of a service account.
func (l *linter) accountMetadata(o manifest.Object, metadata manifest.Value) {
	read := inject.Places()
	// The label does nothing there, or lets policies choose accounts
	// (--labelled-accounts), and older guides ask for it.
	labels := read[2]
	labels.Keys = append(labels.Keys, contract.UseLabel)
	l.keys(o, metadata.Get("labels"), labels)
	l.keys(o, metadata.Get("annotations"), read[3])
	l.account(o, metadata)
}

// named remembers placeholders in the names of an object that workload identity
// concerns.
func (l *linter) named(o manifest.Object, metadata manifest.Value) {
	if isAccount(o) && !slices.ContainsFunc(metadata.Get("annotations").Members(), func(m manifest.Member) bool { return isOurs(m.Key) }) {
		return
	}
	l.toFillIn(o, metadata.Get("name"))
	l.toFillIn(o, metadata.Get("namespace"))
}

// otherObject looks at metadata where none of our keys is read, as far as azwi
// knows: the controller of a kind of another project may copy them to pods.
func (l *linter) otherObject(o manifest.Object) {
	metadata := o.Value.Get("metadata")
	if !isKubernetes(o) {
		for _, part := range []string{"labels", "annotations"} {
			for _, m := range metadata.Get(part).Members() {
				if !m.Again && slices.ContainsFunc(inject.Places(), func(p inject.Place) bool { return slices.Contains(p.Keys, m.Key) }) {
					l.find(finding.KindUnknown(cmp.Or(o.Kind, "object"), part), o, m.Value.KeyPosition())
					return
				}
			}
		}
		return
	}
	l.keys(o, metadata.Get("labels"), inject.Place{Name: "label of the " + o.Kind})
	l.keys(o, metadata.Get("annotations"), inject.Place{Name: "annotation of the " + o.Kind})
}

// duplicates looks for keys that hide others of their mapping.
func (l *linter) duplicates(o manifest.Object) {
	o.Value.Walk(func(v manifest.Value) {
		for _, m := range v.Members() {
			if m.Again {
				l.find(finding.DuplicateKey(m.Key), o, m.Value.KeyPosition())
			}
		}
	})
}

// keys looks at the keys and values of labels or annotations that are read at the
// given place. Those of a pod and the object itself may be the same; the pod's come
// first.
func (l *linter) keys(o manifest.Object, of manifest.Value, place inject.Place) {
	if !of.Exists() || l.checked[of.Position()] {
		return
	}
	l.checked[of.Position()] = true
	for _, m := range of.Members() {
		if w, ok := place.Check(m.Key); ok {
			if m.Key == contract.UseLabel {
				w = finding.MisplacedLabel(w)
			}
			l.find(w, o, m.Value.KeyPosition())
		}
		l.ourValue(o, m)
	}
}

// ourValue looks at the value of one of our keys.
func (l *linter) ourValue(o manifest.Object, m manifest.Member) {
	if !isOurs(m.Key) || m.Again || l.toFillIn(o, m.Value) {
		return
	}
	if _, isString := m.Value.Text(); !isString {
		meant := m.Value.Source()
		if m.Value.JSON() == true {
			meant = contract.UseLabelValue // also where a yes was written
		}
		l.find(finding.NotString(m.Key, meant), o, m.Value.Position())
	}
}

// labelValue looks at what the label says.
func (l *linter) labelValue(o manifest.Object, labels manifest.Value) {
	use := labels.Get(contract.UseLabel)
	if value, ok := use.Text(); ok && value != contract.UseLabelValue && value != "false" && !l.isPlaceholder(value) {
		l.find(finding.LabelValue(value), o, use.Position())
	}
}

func isOurs(key string) bool { return strings.HasPrefix(key, contract.Prefix) }

// account looks at what a service account says, whoever uses it: injection into a
// pod that says nothing itself tells.
func (l *linter) account(o manifest.Object, metadata manifest.Value) {
	a := l.metadata(o, metadata)
	annotations := metadata.Get("annotations")
	if tenant, ok := a.Annotations[contract.TenantIDAnnotation]; ok && tenant != "" && !guid.Valid(tenant) && (!inject.IsTenant(tenant) || !strings.Contains(tenant, ".")) {
		l.find(finding.TenantID(tenant), o, annotations.Get(contract.TenantIDAnnotation).Position())
	}
	pod := `{"metadata":{"labels":{"` + contract.UseLabel + `":"` + contract.UseLabelValue + `"}},"spec":{"containers":[]}}`
	parsed, err := inject.Parse([]byte(pod))
	if err != nil {
		return
	}
	result := parsed.Inject(a, inject.Settings{})
	for _, w := range result.Warnings {
		if w.Code() == finding.CodeClientIDNotGUID {
			l.find(w, o, annotations.Get(w.Subject().Key).Position())
		}
	}
	if d := result.Denial; d != nil {
		l.find(*d, o, annotations.Get(d.Subject().Key).Position())
	}
}

// metadata is what injection needs of an account. A value that is no string is
// found elsewhere; here it counts as what it is written as.
func (l *linter) metadata(o manifest.Object, metadata manifest.Value) inject.Account {
	return inject.Account{
		Namespace: l.namespace(o), Name: o.Name,
		Labels: l.known(metadata.Get("labels")), Annotations: l.known(metadata.Get("annotations")),
	}
}

// known are labels or annotations without those whose value is to be filled in; a
// client ID counts as right.
func (l *linter) known(of manifest.Value) map[string]string {
	all := stringsOf(of)
	for key, value := range all {
		switch {
		case !l.isPlaceholder(value):
		case key == contract.ClientIDAnnotation:
			all[key] = anyID
		default:
			delete(all, key)
		}
	}
	return all
}

// anyID stands for a client ID that the input does not have.
const anyID = "00000000-0000-0000-0000-000000000000"

func stringsOf(v manifest.Value) map[string]string {
	all := map[string]string{}
	for _, m := range v.Members() {
		if _, isMapping := m.Value.JSON().(map[string]any); !isMapping {
			all[m.Key] = m.Value.Source() // of two, the last one
		}
	}
	return all
}

// workload looks at a pod template. It is told whether the object says anything of
// opting in, be it in the wrong place.
func (l *linter) workload(o manifest.Object, template manifest.Value, says bool) {
	use := template.Get("metadata", "labels", contract.UseLabel)
	name := "default"
	at := template.Position()
	for _, key := range []string{"serviceAccount", "serviceAccountName"} {
		if v := template.Get("spec", key); v.Exists() {
			if text, ok := v.Text(); ok && text != "" {
				name, at = text, v.Position()
			}
		}
	}
	l.misplacedAccount(o, template, name, l.optsIn(use))
	a := inject.Account{Namespace: l.namespace(o), Name: name}
	account, known := l.accounts[a.Namespace+"/"+a.Name]
	if known {
		a = l.metadata(account, account.Value.Get("metadata"))
	}
	if !l.optsIn(use) {
		if known && a.Annotations[contract.ClientIDAnnotation] != "" && !says {
			l.find(finding.LabelMissing(a.Name, ""), o, template.KeyPosition())
		}
		return
	}
	l.toFillIn(o, template.Get("spec", "serviceAccountName"))
	if !known {
		if !l.isPlaceholder(a.Namespace + "/" + a.Name) {
			l.find(finding.AccountUnknown(a.Namespace+"/"+a.Name), o, at)
		}
		a.Annotations = map[string]string{contract.ClientIDAnnotation: anyID}
	}
	l.injection(o, template, a, at)
	l.volumes(o, template)
	l.environment(o, template)
}

// optsIn takes a bare true for what it was meant as: that it is no string is a
// finding of its own, and the rest shall be found too. The same holds where the value
// is to be filled in.
func (l *linter) optsIn(use manifest.Value) bool {
	text, _ := use.Text()
	return use.JSON() == true || text == contract.UseLabelValue || l.isPlaceholder(text)
}

// injection reports what injection itself warns of and denies.
func (l *linter) injection(o manifest.Object, template manifest.Value, a inject.Account, account manifest.Position) {
	pod, ok := l.readable(template)
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
			l.find(finding.Unreadable(err), o, template.Position())
			return
		}
		result := parsed.Inject(a, inject.Settings{Proxy: inject.Proxy{Image: "proxy", NativeSidecar: !l.config.OrdinarySidecar}})
		if d := result.Denial; d != nil {
			l.findAs(d.Severity(), *d, o, l.place(template, d.Subject()))
			// With this one out of the way, find the next.
			switch d.Code() {
			case finding.CodeProxyUID:
				return
			case finding.CodeHostNetwork:
				delete(spec, "hostNetwork")
			default:
				key := d.Subject().Key
				if _, ok := annotations[key]; !ok {
					return
				}
				delete(annotations, key)
			}
			continue
		}
		for _, w := range result.Warnings {
			switch w.Code() {
			case finding.CodeNearMissKey, finding.CodeMisplacedKey, finding.CodeClientIDNotGUID:
				// found where they are written
			case finding.CodeClientIDMissing:
				l.find(w, o, account)
			default:
				l.find(w, o, l.place(template, w.Subject()))
			}
		}
		return
	}
}

// place finds what a denial or warning is about.
func (l *linter) place(template manifest.Value, subject finding.Subject) manifest.Position {
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

// readable is the pod as JSON, with labels and annotations that are strings and
// without what is to be filled in.
func (l *linter) readable(template manifest.Value) (map[string]any, bool) {
	spec, ok := template.Get("spec").JSON().(map[string]any)
	if !ok {
		return nil, false
	}
	spec, _ = l.withoutPlaceholders(spec).(map[string]any)
	metadata := template.Get("metadata")
	labels := l.known(metadata.Get("labels"))
	labels[contract.UseLabel] = contract.UseLabelValue
	return map[string]any{"spec": spec, "metadata": map[string]any{
		"labels": labels, "annotations": l.known(metadata.Get("annotations")),
	}}, true
}

// withoutPlaceholders copies a value without the members that are to be filled in, as
// they may become anything. Names stay, for others may refer to them, and values of
// the environment count as client IDs, which no rule minds.
func (l *linter) withoutPlaceholders(v any) any {
	switch v := v.(type) {
	case map[string]any:
		c := maps.Clone(v)
		for key, value := range c {
			text, isText := value.(string)
			switch {
			case !isText:
				c[key] = l.withoutPlaceholders(value)
			case !l.isPlaceholder(text) || key == "name":
			case key == "value":
				c[key] = anyID
			default:
				delete(c, key)
			}
		}
		return c
	case []any:
		c := slices.Clone(v)
		for i := range c {
			c[i] = l.withoutPlaceholders(c[i])
		}
		return c
	}
	return v
}
