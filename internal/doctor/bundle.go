package doctor

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"azwi/internal/install"
	"azwi/internal/kube"
	"azwi/internal/pod/workload"
)

// What bounds a bundle.
const (
	bundlePods   = 20
	bundleEvents = 2000
	logLines     = 1000
	logBytes     = 1 << 20
)

// BundleConfig says what a bundle shows.
type BundleConfig struct {
	// Version is this program's.
	Version string
	// RedactIDs puts pseudonyms in place of GUIDs.
	RedactIDs bool
	// Progress is told how many identities were read. Optional.
	Progress func(done, all int)
}

// A Bundle is what helps others to find a mistake in a cluster that they can't see. It has
// no token and no secret.
type Bundle struct {
	Files []BundleFile
	// Missing is what could not be read, and why.
	Missing []string
	// Denied: some of that for lack of a right.
	Denied bool

	redact *redactor
}

// A BundleFile is a file of a bundle.
type BundleFile struct {
	Name    string
	Content []byte
}

// Bundle collects the survey of all namespaces, the installation's state, its pods with
// their logs, and events. The error is that of an API server that does not answer; what
// else can't be read is in the bundle.
func (d *Doctor) Bundle(ctx context.Context, c BundleConfig) (*Bundle, error) {
	b := &Bundle{redact: newRedactor(c.RedactIDs)}
	if err := d.bundleVersions(ctx, b, c.Version); err != nil {
		return nil, err
	}
	survey, err := d.Survey(ctx, Selection{}, c.Progress)
	b.add("doctor.json", survey, err)
	if err == nil {
		b.Denied = survey.Denied
		b.note("doctor.json", survey.Unknown...)
	}
	status, err := install.ReadStatus(ctx, d.config.Cluster, c.Version, d.config.Now())
	b.add("status.json", status, err)
	namespace := install.DefaultNamespace
	if status != nil {
		namespace = cmp.Or(status.Namespace, namespace)
		b.Denied = b.Denied || status.Unread
		for _, f := range status.Unknown {
			b.note("status.json", f.Text())
		}
	}
	d.bundlePods(ctx, b, namespace)
	d.bundleEvents(ctx, b, namespace)
	if len(b.Missing) > 0 {
		b.file("missing.txt", strings.Join(b.Missing, "\n")+"\n")
	}
	return b, ctx.Err()
}

// bundleVersions fails where nothing else can be read: the API server does not answer, or
// does not know the caller.
func (d *Doctor) bundleVersions(ctx context.Context, b *Bundle, version string) error {
	var kubernetes json.RawMessage
	err := d.config.Cluster.Get(ctx, "/version", &kubernetes)
	if err := b.orMissing("versions.json", err); err != nil {
		return err
	}
	b.add("versions.json", object{"azwi": version, "kubernetes": kubernetes, "time": d.config.Now().UTC().Format(time.RFC3339)}, nil)
	return nil
}

// bundlePods adds the webhook's pods, and the logs of their containers.
func (d *Doctor) bundlePods(ctx context.Context, b *Bundle, namespace string) {
	const webhooks = "azure-workload-identity.io/system=true"
	pods, typed := []any{}, []workload.Running(nil)
	err := d.config.Cluster.List(ctx, kube.Ref{APIVersion: "v1", Kind: "Pod", Namespace: namespace}, webhooks, func(raw json.RawMessage) error {
		if len(pods) == bundlePods {
			b.note("pods.json", fmt.Sprintf("only the first %d pods", bundlePods))
			return nil
		}
		var p workload.Running
		plain, err := bundled(raw)
		if err == nil {
			err = json.Unmarshal(raw, &p)
		}
		pods, typed = append(pods, plain), append(typed, p)
		return err
	})
	b.add("pods.json", pods, err)
	if err == nil && len(pods) == 0 {
		b.note("logs", "namespace "+namespace+" has no pod of the webhook")
	}
	for _, p := range typed {
		for _, c := range append(p.Status.InitContainerStatuses, p.Status.ContainerStatuses...) {
			d.bundleLog(ctx, b, kube.LogRequest{Namespace: namespace, Pod: p.Metadata.Name, Container: c.Name})
			if c.RestartCount > 0 {
				d.bundleLog(ctx, b, kube.LogRequest{Namespace: namespace, Pod: p.Metadata.Name, Container: c.Name, Previous: true})
			}
		}
		if len(p.Status.ContainerStatuses) == 0 {
			b.note("logs", "no container of pod "+p.Metadata.Name+" was started")
		}
	}
}

func (d *Doctor) bundleLog(ctx context.Context, b *Bundle, r kube.LogRequest) {
	name := "logs/" + r.Pod + "_" + r.Container
	if r.Previous {
		name += ".previous"
	}
	name += ".log"
	r.Lines, r.Bytes = logLines, logBytes
	text, err := d.config.Cluster.Logs(ctx, r)
	if err != nil {
		b.missing(name, err)
		return
	}
	b.file(name, b.redact.text(string(text)))
}

// bundleEvents adds the events of a namespace, and others' that are about workload identity.
func (d *Doctor) bundleEvents(ctx context.Context, b *Bundle, namespace string) {
	about := regexp.MustCompile(`(?i)workload.identity|azure-wi-|azwi|AADSTS`)
	var events []object
	read := func(of string) error {
		return d.config.Cluster.List(ctx, kube.Ref{APIVersion: "v1", Kind: "Event", Namespace: of}, "", func(raw json.RawMessage) error {
			event, err := bundled(raw)
			metadata, _ := event["metadata"].(object)
			if metadata["namespace"] == namespace || about.Match(raw) {
				events = append(events, event)
			}
			return err
		})
	}
	err := read("")
	if kube.IsForbidden(err) {
		b.missing("events.json, of all namespaces", err)
		err = read(namespace)
	}
	slices.SortStableFunc(events, func(x, y object) int { return strings.Compare(created(x), created(y)) })
	if n := len(events) - bundleEvents; n > 0 {
		b.note("events.json", fmt.Sprintf("only the last %d events", bundleEvents))
		events = events[n:]
	}
	b.add("events.json", append([]object{}, events...), err)
}

// created is when an object was, in a form that sorts.
func created(o object) string {
	metadata, _ := o["metadata"].(object)
	at, _ := metadata["creationTimestamp"].(string)
	return at
}

// bundled is an object without what says nothing about it.
func bundled(raw json.RawMessage) (object, error) {
	var o object
	if err := json.Unmarshal(raw, &o); err != nil {
		return nil, err
	}
	if metadata, ok := o["metadata"].(object); ok {
		delete(metadata, "managedFields")
	}
	return o, nil
}

// add adds a value as redacted JSON, or says why it is missing.
func (b *Bundle) add(name string, v any, err error) {
	if err != nil {
		b.missing(name, err)
		return
	}
	var plain any
	if err := convert(v, &plain); err != nil {
		b.missing(name, err)
		return
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(b.redact.value(plain)); err != nil {
		b.missing(name, err)
		return
	}
	b.file(name, text.String())
}

// file adds a file whose content is redacted already.
func (b *Bundle) file(name, content string) {
	b.Files = append(b.Files, BundleFile{b.redact.text(name), []byte(content)})
}

// note says what of a file is missing, each thing once.
func (b *Bundle) note(name string, lines ...string) {
	for _, line := range lines {
		if line = b.redact.text(name + ": " + line); !slices.Contains(b.Missing, line) {
			b.Missing = append(b.Missing, line)
		}
	}
}

func (b *Bundle) missing(name string, err error) {
	b.Denied = b.Denied || denied(err)
	b.note(name, oneLine(err))
}

// orMissing notes a lack of rights, and passes other errors on.
func (b *Bundle) orMissing(name string, err error) error {
	if !kube.IsForbidden(err) {
		return err
	}
	b.missing(name, err)
	return nil
}

// Archive is the bundle as a compressed archive.
func (b *Bundle) Archive(now time.Time) ([]byte, error) {
	var archive bytes.Buffer
	compressed := gzip.NewWriter(&archive)
	files := tar.NewWriter(compressed)
	for _, f := range b.Files {
		err := files.WriteHeader(&tar.Header{Name: "azwi-support/" + f.Name, Mode: 0o600, Size: int64(len(f.Content)), ModTime: now, Format: tar.FormatPAX})
		if err == nil {
			_, err = files.Write(f.Content)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	err := errors.Join(files.Close(), compressed.Close())
	return archive.Bytes(), err
}
