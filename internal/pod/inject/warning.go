package inject

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"azwi/contract"
	"azwi/internal/guid"
	"azwi/internal/spelling"
)

// Reasons of warnings.
const (
	ReasonClientIDMissing Reason = "client-id-missing"
	ReasonClientIDNotGUID Reason = "client-id-not-guid"
	ReasonNearMissKey     Reason = "near-miss-key"
	ReasonMisplacedKey    Reason = "misplaced-key"
	ReasonProxyNotBoolean Reason = "proxy-not-boolean"
	ReasonSkipUnknown     Reason = "skip-unknown-container"
	ReasonOwnEndpoint     Reason = "own-identity-endpoint"
	ReasonHTTPProxy       Reason = "http-proxy"
	ReasonUpstreamImages  Reason = "upstream-proxy-images"
	ReasonOwnClientID     Reason = "own-client-id"
	ReasonVirtualNode     Reason = "virtual-node"
	ReasonPortTaken       Reason = "proxy-port-taken"
	ReasonNeverCompletes  Reason = "proxy-never-completes"
)

const (
	mostKeyWarnings        = 8 // the API server passes on 4 KiB of warnings
	shortestForTypingError = 6 // shorter words are near too many others
)

func (in *injection) warnings() []Warning {
	ws := in.keyWarnings()
	ws = append(ws, in.clientIDWarnings()...)
	ws = append(ws, in.ownClientIDWarnings()...)
	for _, name := range slices.Sorted(maps.Keys(in.skip)) {
		if !in.pod.hasContainer(name) && name != contract.ProxyContainer && name != contract.ProxyInitContainer {
			ws = append(ws, Warning{ReasonSkipUnknown, fmt.Sprintf(
				"annotation %s names %s, but the pod has no such container", contract.SkipContainersAnnotation, quote(name)),
				Subject{Key: contract.SkipContainersAnnotation}})
		}
	}
	if in.pod.mayBeVirtual() {
		ws = append(ws, Warning{ReasonVirtualNode,
			"the pod may run on a virtual node (virtual-kubelet), which supports neither projected tokens nor init containers: workload identity does not work there", Subject{}})
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
func (in *injection) ownClientIDWarnings() []Warning {
	var ws []Warning
	in.targets(func(_ string, _ int, c podContainer) {
		if c.Name == contract.ProxyContainer {
			return
		}
		for _, e := range c.Env {
			if e.Name != contract.EnvClientID || e.ValueFrom != nil || strings.Contains(e.Value, "$(") || guid.Valid(e.Value) || e.Value != "" && e.Value == in.clientID() {
				continue
			}
			ws = append(ws, Warning{ReasonOwnClientID, fmt.Sprintf(
				"container %s sets %s to %s, not a GUID: use a client ID, or remove the variable to get the service account's",
				quote(c.Name), contract.EnvClientID, quote(e.Value)), Subject{Container: c.Name}})
			break
		}
	})
	return ws
}

func (in *injection) clientIDWarnings() []Warning {
	id := in.clientID()
	account := quote(in.account.Namespace + "/" + in.account.Name)
	if id != "" {
		if guid.Valid(id) {
			return nil
		}
		return []Warning{{ReasonClientIDNotGUID, fmt.Sprintf(
			"annotation %s of service account %s is %s, not a GUID: use the identity's client ID",
			contract.ClientIDAnnotation, account, quote(id)), Subject{Key: contract.ClientIDAnnotation}}}
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
	return []Warning{{ReasonClientIDMissing, fmt.Sprintf(
		"service account %s has no annotation %s: %s is not set, so the application must name its identity itself",
		account, contract.ClientIDAnnotation, contract.EnvClientID), Subject{}}}
}

// keyWarnings finds keys that look like ours but are not, and keys of ours on the
// wrong object.
func (in *injection) keyWarnings() []Warning {
	var ws []Warning
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
func (p Place) Check(key string) (Warning, bool) { return p.check(key, Places()) }

func (p Place) check(key string, places []Place) (Warning, bool) {
	if slices.Contains(p.Keys, key) {
		return Warning{}, false
	}
	known := nearest(key, p.Bare, places)
	if known == "" {
		return Warning{}, false
	}
	at := placeOf(known, p, places)
	if key == known {
		return Warning{ReasonMisplacedKey, fmt.Sprintf(
			"%s %s has no effect: it is read as %s", p.Name, quote(key), at), Subject{Key: key}}, true
	}
	return Warning{ReasonNearMissKey, fmt.Sprintf(
		"%s %s has no effect: did you mean the %s %s?", p.Name, quote(key), at, known), Subject{Key: key}}, true
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
