package injector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/pod/inject"
	"azwi/internal/pod/manifest"
	"azwi/internal/pod/workload"
)

// accounts finds service accounts that the input does not hold. Get's error wraps
// inject.ErrNoAccount where there is none.
type accounts interface {
	Get(ctx context.Context, namespace, name string) (inject.Account, error)
}

// Config of Inject.
type Config struct {
	// Settings are the webhook's.
	Settings inject.Settings
	// Namespace of objects that name none. Defaults to default, as in kubectl.
	Namespace string
	// Kinds says where pod templates are. Defaults to workload.Known.
	Kinds workload.Shapes
	// Accounts finds those that are not in the input. Nil: there are no others, but
	// for the account default, which every namespace has.
	Accounts accounts
}

// A Result is the changed input.
type Result struct {
	// Text is all files, a document after the other.
	Text []byte
	// Injected is the number of workloads that were changed, OptedIn of those that
	// asked for it.
	Injected, OptedIn int
	// Notes are what the webhook would have warned of, and what was left alone.
	Notes []Note
}

// A Note tells of one object.
type Note struct {
	Position manifest.Position
	// Object such as "Deployment shop/orders"; empty where there is none.
	Object string
	// Warning is set where the webhook warns too.
	Warning bool
	Message string
}

func (n Note) String() string {
	word := "note"
	if n.Warning {
		word = "warning"
	}
	object := n.Object
	if object != "" {
		object += ": "
	}
	return fmt.Sprintf("%s: %s: %s%s", n.Position, word, object, n.Message)
}

// Inject changes the workloads that have opted in. The error lists every mistake:
// what can't be read, denials, service accounts that were not found.
func Inject(ctx context.Context, files []*manifest.File, c Config) (Result, error) {
	if c.Namespace == "" {
		c.Namespace = "default"
	}
	if c.Kinds == nil {
		c.Kinds = workload.Known()
	}
	c.Settings.Unmarked = true
	in := injection{config: c, known: map[string]inject.Account{}}
	for _, file := range files {
		for _, d := range file.Documents {
			in.readAccounts(d)
			in.understood(file, d)
		}
	}
	if len(in.mistakes) == 0 {
		for _, file := range files {
			for _, d := range file.Documents {
				in.document(ctx, d)
			}
		}
	}
	if err := errors.Join(in.mistakes...); err != nil {
		return Result{Notes: in.result.Notes}, err
	}
	return in.result, nil
}

// injection is one input's injection under way.
type injection struct {
	config   Config
	known    map[string]inject.Account // by namespace/name
	result   Result
	mistakes []error
}

func (in *injection) mistake(err error) { in.mistakes = append(in.mistakes, err) }

func (in *injection) namespace(o manifest.Object) string {
	if o.Namespace == "" {
		return in.config.Namespace
	}
	return o.Namespace
}

func (in *injection) readAccounts(d *manifest.Document) {
	if d.Err != nil {
		in.mistake(d.Err)
		return
	}
	for _, o := range d.Objects() {
		if o.APIVersion != "v1" || o.Kind != "ServiceAccount" {
			continue
		}
		a := inject.Account{Namespace: in.namespace(o), Name: o.Name}
		raw, err := json.Marshal(o.Value.Get("metadata").JSON())
		if err == nil {
			err = json.Unmarshal(raw, &a)
		}
		if err != nil {
			in.mistake(fmt.Errorf("%s: ServiceAccount %s: %w", o.Value.Position(), o.Name, err))
			continue
		}
		a.Namespace = in.namespace(o)
		in.known[a.Namespace+"/"+a.Name] = a
	}
}

// understood finds what kubectl would refuse: it may hide a workload. In a folder
// there may be other files too.
func (in *injection) understood(file *manifest.File, d *manifest.Document) {
	for _, at := range d.NotObjects() {
		if file.Named {
			in.mistake(fmt.Errorf("%s: not a Kubernetes object: apiVersion or kind is missing", at))
			continue
		}
		in.result.Notes = append(in.result.Notes, Note{Position: at, Message: finding.OtherDocument().Text()})
	}
}

// document writes one document to the result, changed or not.
func (in *injection) document(ctx context.Context, d *manifest.Document) {
	var ops []inject.Op
	for _, o := range d.Objects() {
		shape, ok := in.config.Kinds.Find(o.APIVersion, o.Kind)
		if !ok {
			shape.Pods = []workload.Place{{Metadata: "spec.template.metadata"}}
		}
		for _, place := range shape.Pods {
			if place.Template == "" {
				in.metadataOnly(o, place)
				continue
			}
			o.Value.Each(place.Template, func(pointer string, template manifest.Value) {
				object, _ := template.JSON().(map[string]any)
				pod, ok := workload.Pod(object)
				if !ok {
					return
				}
				for _, op := range in.workload(ctx, o, pod) {
					op.Path = o.Pointer + pointer + op.Path
					ops = append(ops, op)
				}
			})
		}
	}
	text, err := d.Patch(ops)
	if err != nil {
		in.mistake(err)
		return
	}
	in.write(d, text)
}

// write adds a document, which may be the first of another file.
func (in *injection) write(d *manifest.Document, text []byte) {
	out := &in.result.Text
	if len(*out) > 0 && d.Line == 1 && len(text) > 0 {
		if !strings.HasSuffix(string(*out), "\n") {
			*out = append(*out, '\n')
		}
		if !strings.HasPrefix(string(text), "---") {
			*out = append(*out, "---\n"...)
		}
	}
	*out = append(*out, text...)
}

// metadataOnly tells of pods that opt in whose template the object does not have, or
// not where azwi knows it.
func (in *injection) metadataOnly(o manifest.Object, place workload.Place) {
	o.Value.Each(place.LabelsPath(), func(_ string, labels manifest.Value) {
		if label, _ := labels.Get(contract.UseLabel).Text(); label == contract.UseLabelValue {
			in.note(o, false, finding.TemplateUnknown().Text())
		}
	})
}

func (in *injection) note(o manifest.Object, warning bool, message string) {
	in.result.Notes = append(in.result.Notes, Note{o.Value.Position(), in.name(o), warning, message})
}

func (in *injection) name(o manifest.Object) string {
	return o.Kind + " " + in.namespace(o) + "/" + o.Name
}

// workload returns what to change in the pod template.
func (in *injection) workload(ctx context.Context, o manifest.Object, raw []byte) []inject.Op {
	fail := func(err error) []inject.Op {
		in.mistake(fmt.Errorf("%s: %s: %w", o.Value.Position(), in.name(o), err))
		return nil
	}
	pod, err := inject.Parse(raw)
	if err != nil {
		return fail(err)
	}
	if !pod.OptedIn() {
		return nil
	}
	in.result.OptedIn++
	sa, err := in.account(ctx, in.namespace(o), pod.ServiceAccountName())
	if err != nil {
		return fail(err)
	}
	res := pod.Inject(sa, in.config.Settings)
	for _, w := range res.Warnings {
		in.note(o, true, w.Text())
	}
	if res.Denial != nil {
		return fail(fmt.Errorf("denied: %s", res.Denial.Text()))
	}
	if len(res.Patch) > 0 {
		in.result.Injected++
	}
	return res.Patch
}

func (in *injection) account(ctx context.Context, namespace, name string) (inject.Account, error) {
	key := namespace + "/" + name
	if a, ok := in.known[key]; ok {
		return a, nil
	}
	a, err := inject.Account{}, inject.ErrNoAccount
	if in.config.Accounts != nil {
		a, err = in.config.Accounts.Get(ctx, namespace, name)
	}
	if errors.Is(err, inject.ErrNoAccount) {
		if name != "default" {
			return a, fmt.Errorf("service account %s: %w", key, inject.ErrNoAccount)
		}
		a, err = inject.Account{Namespace: namespace, Name: name}, nil
	}
	if err == nil {
		in.known[key] = a
	}
	return a, err
}
