package inject

import (
	"bytes"
	"fmt"

	"azwi/contract"
	"azwi/internal/finding"
)

// Limits of a pod that Parse reads, far above what pods have. Those of containers
// and reserved volumes bound what is injected, the others what is read.
const (
	MostContainers      = 200    // with init containers
	MostVariables       = 10_000 // of all containers
	MostMounts          = 10_000 // of all containers
	MostVolumes         = 2_000
	MostPorts           = 10_000   // of all containers
	MostPlacement       = 64 << 10 // bytes of affinity, tolerations, node selector and the pod's own resources
	MostReservedVolumes = 20       // volumes, and names that mounts refer to
	MostKeys            = 10_000   // of labels and annotations
	MostAnnotation      = 32 << 10 // bytes of one of ours, as written
	MostName            = 253      // bytes of a name, as in Kubernetes
)

// A LimitError is Parse's for a pod that is beyond a limit.
type LimitError struct {
	// What there is too much of, in plural.
	What string
	// Count is how much of it the pod has.
	Count int
	// Most is the limit.
	Most int
}

func (e *LimitError) Error() string { return e.Finding().Text() }

// Finding is what to tell the pod's author.
func (e *LimitError) Finding() finding.Finding { return finding.PodTooLarge(e.What, e.Count, e.Most) }

// An Outline is what can be said of a pod without decoding it, in little memory
// whatever is in it.
type Outline struct {
	// Unlabelled pods are certainly not opted in. Others may be: Pod.OptedIn has
	// the last word.
	Unlabelled bool

	size, containers, variables, mounts, volumes, ports, placement, keys, annotation int
}

// Measure returns the outline of a pod in JSON. Only valid JSON gives a useful one.
func Measure(raw []byte) Outline {
	o := Outline{size: len(raw), Unlabelled: true}
	s := &scanner{data: raw}
	spec, mirror := false, false
	if s.next() != '{' {
		o.Unlabelled = false // no pod: Parse says so
	}
	for member := range s.members() {
		switch string(member) {
		case "metadata":
			for member := range s.members() {
				switch string(member) {
				case "labels":
					o.labels(s)
				case "annotations":
					o.annotations(s, &mirror)
				}
			}
		case "spec":
			spec = s.next() == '{'
			o.spec(s)
		}
	}
	o.Unlabelled = spec && (o.Unlabelled || mirror)
	return o
}

func (o *Outline) labels(s *scanner) {
	for key := range s.members() {
		o.keys++
		// Any value but a string is Parse's to refuse.
		if string(key) == contract.UseLabel && (s.next() != '"' || string(unquoted(s.text())) == contract.UseLabelValue) {
			o.Unlabelled = false
		}
	}
}

func (o *Outline) annotations(s *scanner, mirror *bool) {
	if s.next() == 'n' {
		*mirror = false // null empties the map
	}
	for key := range s.members() {
		o.keys++
		switch {
		case string(key) == contract.MirrorPodAnnotation:
			*mirror = true
		case bytes.HasPrefix(key, []byte(contract.Prefix)):
			o.annotation = max(o.annotation, len(s.text()))
		}
	}
}

func (o *Outline) spec(s *scanner) {
	for member := range s.members() {
		switch string(member) {
		case "containers", "initContainers":
			for range s.elements() {
				o.containers++
				o.container(s)
			}
		case "volumes":
			o.volumes += count(s)
		case "affinity", "tolerations", "nodeSelector", "resources":
			s.next()
			start := s.at
			s.skip()
			o.placement += s.at - start
		}
	}
}

func (o *Outline) container(s *scanner) {
	for member := range s.members() {
		switch string(member) {
		case "env":
			o.variables += count(s)
		case "volumeMounts":
			o.mounts += count(s)
		case "ports":
			o.ports += count(s)
		}
	}
}

func count(s *scanner) int {
	n := 0
	for range s.elements() {
		n++
	}
	return n
}

// check returns a LimitError for the first limit that the pod is beyond.
func (o Outline) check() error {
	for _, l := range []LimitError{
		{"containers", o.containers, MostContainers},
		{"environment variables", o.variables, MostVariables},
		{"volume mounts", o.mounts, MostMounts},
		{"volumes", o.volumes, MostVolumes},
		{"ports", o.ports, MostPorts},
		{"bytes of affinity, tolerations, node selector and resources", o.placement, MostPlacement},
		{"labels and annotations", o.keys, MostKeys},
		{"bytes in an annotation " + contract.Prefix + "...", o.annotation, MostAnnotation},
	} {
		if l.Count > l.Most {
			return &l
		}
	}
	return nil
}

// Memory is about how many bytes Parse, Inject and writing the patch take at most,
// measured, for a pod within the limits. The account is the zero one while it is not
// known.
func (o Outline) Memory(settings Settings, account Account) int64 {
	const (
		container = 6 << 10 // its own, and four or six variables and a mount in the patch
		variable  = 200
		mount     = 200
		volume    = 400
		port      = 150
		placement = 100 // a byte's
		key       = 700
	)
	text := len(settings.CustomTokenEndpoint.CAData) + len(account.Annotations[contract.ClientIDAnnotation]) + len(account.Annotations[contract.TenantIDAnnotation])
	return int64(2*o.size + 30*o.annotation + o.containers*(container+5*text) +
		o.variables*variable + o.mounts*mount + o.volumes*volume + o.ports*port + o.placement*placement + o.keys*key)
}

// checkParsed checks what only a decoded pod tells.
func (p *Pod) checkParsed() error {
	reserved := map[string]bool{}
	for _, name := range p.volumeNames {
		if isReserved(name) {
			reserved[name] = true
		}
	}
	p.containers(func(_ string, _ int, c podContainer) {
		for _, m := range c.VolumeMounts {
			if isReserved(m.Name) {
				reserved[m.Name] = true
			}
		}
	})
	if n := len(reserved); n > MostReservedVolumes {
		return &LimitError{"reserved volumes " + contract.VolumePrefix + "...", n, MostReservedVolumes}
	}
	for _, name := range []string{p.metadata.Name, p.metadata.GenerateName, p.spec.ServiceAccountName} {
		if len(name) > MostName {
			return &LimitError{"bytes in a name", len(name), MostName}
		}
	}
	return nil
}

// cut keeps a decoder's error, which may hold what it failed at, readable.
func cut(err error) error {
	const most = 300
	if text := err.Error(); len(text) > most {
		return fmt.Errorf("%.*s", most, text) // nobody asks for its kind
	}
	return err
}
