package kube

import (
	"context"
	"iter"
)

// A Wanted is an object that should be there.
type Wanted struct {
	Ref Ref
	// Differences tells how the object that is there differs, a line each. Optional: any
	// will do.
	Differences func(ctx context.Context, installed map[string]any) ([]string, error)
}

// A State is how an object compares with the wanted one.
type State int

// States of an object.
const (
	Same State = iota
	Different
	Missing
	// Forbidden: the user may not read it, or not compare it.
	Forbidden
	// Failed: it could not be read or compared, for another reason.
	Failed
)

// A Compared is what became of a wanted object.
type Compared struct {
	Ref   Ref
	State State
	// Installed is the object; nil if it was not read.
	Installed map[string]any
	// Differences are there if it is Different.
	Differences []string
	// Err is there if it is Forbidden or Failed.
	Err error
}

// Walk compares wanted objects with what is there, one after the other.
func (c *Client) Walk(ctx context.Context, wanted []Wanted) iter.Seq[Compared] {
	return func(yield func(Compared) bool) {
		for _, w := range wanted {
			if !yield(c.compare(ctx, w)) {
				return
			}
		}
	}
}

func (c *Client) compare(ctx context.Context, w Wanted) Compared {
	found := Compared{Ref: w.Ref}
	found.Err = c.Read(ctx, w.Ref, &found.Installed)
	if IsNotFound(found.Err) {
		return Compared{Ref: w.Ref, State: Missing}
	}
	if found.Err == nil && w.Differences != nil {
		found.Differences, found.Err = w.Differences(ctx, found.Installed)
	}
	switch {
	case IsForbidden(found.Err):
		found.State = Forbidden
	case found.Err != nil:
		found.State = Failed
	case len(found.Differences) > 0:
		found.State = Different
	}
	return found
}
