// Package document reads YAML files that people write, strictly: unknown fields,
// wrong types and repeated keys are errors that give line and field. It knows no
// file's meaning; the readers of each file do.
package document
