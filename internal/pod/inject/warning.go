package inject

import (
	"maps"
	"slices"
	"strings"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/guid"
	"azwi/internal/spelling"
)

const (
	mostKeyWarnings        = 8 // the API server passes on 4 KiB of warnings
	shortestForTypingError = 6 // shorter words are near too many others
)

func (in *injection) warnings() []finding.Finding {
	ws := in.keyWarnings()
	ws = append(ws, in.clientIDWarnings()...)
	ws = append(ws, in.ownClientIDWarnings()...)
	for _, name := range slices.Sorted(maps.Keys(in.skip)) {
		if !in.pod.hasContainer(name) && name != contract.ProxyContainer && name != contract.ProxyInitContainer {
			ws = append(ws, finding.SkipUnknown(name))
		}
	}
	if in.pod.mayBeVirtual() {
		ws = append(ws, finding.VirtualNode())
	}
	return append(ws, in.proxyWarnings()...)
}

// mayBeVirtual reports whether the pod asks for virtual nodes, as the guides of AKS
// have it: by a node selector, or by tolerating their taints.
func (p *Pod) mayBeVirtual() bool {
	return p.spec.NodeSelector["type"] == "virtual-kubelet" || slices.ContainsFunc(p.spec.Tolerations, func(t toleration) bool {
		return t.Key == "virtual-kubelet.io/provider" || t.Key == "azure.com/aci"
	})
}

// ownClientIDWarnings find client IDs of the author's own that no identity has. A
// reference to another variable is not followed.
func (in *injection) ownClientIDWarnings() []finding.Finding {
	var ws []finding.Finding
	in.targets(func(_ string, _ int, c podContainer) {
		if c.Name == contract.ProxyContainer {
			return
		}
		for _, e := range c.Env {
			if e.Name != contract.EnvClientID || e.ValueFrom != nil || strings.Contains(e.Value, "$(") || guid.Valid(e.Value) || e.Value != "" && e.Value == in.clientID() {
				continue
			}
			ws = append(ws, finding.OwnClientID(c.Name, e.Value))
			break
		}
	})
	return ws
}

func (in *injection) clientIDWarnings() []finding.Finding {
	id := in.clientID()
	account := in.account.Namespace + "/" + in.account.Name
	if id != "" {
		if guid.Valid(id) {
			return nil
		}
		return []finding.Finding{finding.ClientIDNotGUID(account, id)}
	}
	missing := false
	in.pod.containers(func(_ string, _ int, c podContainer) {
		if !in.skip[c.Name] && c.Name != contract.ProxyInitContainer && c.Name != contract.ProxyContainer && !c.sets(contract.EnvClientID) {
			missing = true
		}
	})
	if !missing {
		return nil
	}
	return []finding.Finding{finding.ClientIDMissing(account)}
}

// keyWarnings finds keys that look like ours but are not, and keys of ours on the
// wrong object.
func (in *injection) keyWarnings() []finding.Finding {
	var ws []finding.Finding
	have := []map[string]string{in.pod.metadata.Labels, in.pod.metadata.Annotations, in.account.Labels, in.account.Annotations}
	places := Places()
	for i, place := range places {
		for _, key := range slices.Sorted(maps.Keys(have[i])) {
			// The label elsewhere does nothing, and older guides ask for it.
			if w, ok := place.check(key, places); ok && key != contract.UseLabel && len(ws) < mostKeyWarnings {
				ws = append(ws, w)
			}
		}
	}
	return ws
}

// Check tells of a key that looks like one of ours but is not, or is read
// elsewhere.
func (p Place) Check(key string) (finding.Finding, bool) { return p.check(key, Places()) }

func (p Place) check(key string, places []Place) (finding.Finding, bool) {
	if slices.Contains(p.Keys, key) {
		return finding.Finding{}, false
	}
	known := nearest(key, p.Bare, places)
	if known == "" {
		return finding.Finding{}, false
	}
	at := placeOf(known, p, places)
	if key == known {
		return finding.MisplacedKey(p.Name, key, at), true
	}
	return finding.NearMissKey(p.Name, key, at, known), true
}

// placeOf says where key is read from: here, if it is, else the first place.
func placeOf(key string, here Place, places []Place) string {
	for _, p := range append([]Place{here}, places...) {
		if slices.Contains(p.Keys, key) {
			return p.Name
		}
	}
	return ""
}

// nearest returns the known key that key is meant to be, or the empty string.
func nearest(key string, bare bool, places []Place) string {
	if strings.HasPrefix(key, contract.CustomTokenEndpointPrefix) {
		return ""
	}
	prefix, name, prefixed := strings.Cut(key, "/")
	if !prefixed {
		name = prefix
	}
	if prefixed && spelling.Distance(letters(prefix), letters(contract.Prefix), 2) > 2 {
		return ""
	}
	for _, p := range places {
		for _, known := range p.Keys {
			knownName := strings.TrimPrefix(known, contract.Prefix)
			have, want := letters(name), letters(knownName)
			switch {
			case have == want && (prefixed || bare && (known == contract.ClientIDAnnotation || known == contract.TenantIDAnnotation)):
				return known
			case prefixed && len(want) >= shortestForTypingError && spelling.Distance(have, want, 2) <= 2:
				return known
			}
		}
	}
	return ""
}

// letters is s in lower case without anything but letters and digits.
func letters(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + ('a' - 'A')
		}
		return -1
	}, s)
}
