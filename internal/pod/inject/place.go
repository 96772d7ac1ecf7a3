package inject

import (
	"slices"

	"azwi/contract"
)

// A Place is where keys of labels or annotations are read from.
type Place struct {
	// Name as warnings have it, such as "annotation of the pod".
	Name string
	// Keys that are read there.
	Keys []string
	// Bare places are searched for near misses without a prefix too.
	Bare bool
}

// Places returns all of them: the pod's labels and annotations, then those of the
// service account.
func Places() []Place {
	var places []Place
	for _, at := range []contract.Place{contract.PodLabel, contract.PodAnnotation, contract.AccountLabel, contract.AccountAnnotation} {
		p := Place{Name: string(at), Bare: at == contract.AccountLabel || at == contract.AccountAnnotation}
		for _, k := range contract.Keys() {
			if slices.Contains(k.Places, at) {
				p.Keys = append(p.Keys, k.Key)
			}
		}
		places = append(places, p)
	}
	return places
}
