package inject

import "slices"

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
	in := injection{pod: &Pod{}}
	var places []Place
	for _, h := range in.homes() {
		places = append(places, Place{Name: h.name, Keys: slices.Clone(h.read), Bare: h.bare})
	}
	return places
}
