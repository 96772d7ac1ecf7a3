// Package manifests owns the flags of commands that read manifests. Reading them is
// internal/pod/manifest's.
package manifests
