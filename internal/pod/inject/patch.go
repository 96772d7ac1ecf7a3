package inject

import "strconv"

// An Op is one operation of a JSON patch (RFC 6902). Only add and replace occur,
// and they name no member of the pod other than those the contract gives us.
type Op struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// appendOps adds items behind the existing elements of the list at path.
func appendOps[T any](path string, existing int, items []T) []Op {
	if len(items) == 0 {
		return nil
	}
	if existing == 0 {
		// The list may be absent, where a path ending in - would be an error.
		return []Op{{Op: "add", Path: path, Value: items}}
	}
	ops := make([]Op, len(items))
	for i, item := range items {
		ops[i] = Op{Op: "add", Path: path + "/-", Value: item}
	}
	return ops
}

// prependOps adds items before the existing elements of the list at path, in
// their order. Indices of the existing elements change, so it comes last.
func prependOps[T any](path string, existing int, items []T) []Op {
	if existing == 0 {
		return appendOps(path, 0, items)
	}
	ops := make([]Op, len(items))
	for i, item := range items {
		ops[i] = Op{Op: "add", Path: path + "/" + strconv.Itoa(i), Value: item}
	}
	return ops
}
