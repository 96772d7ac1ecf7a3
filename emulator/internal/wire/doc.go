// Package wire is how Azure's resource servers talk JSON over HTTP: bounded
// bodies in, objects, pages and error envelopes out. It knows no resource.
package wire
