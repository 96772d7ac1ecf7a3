// Package manifest reads files of Kubernetes manifests, YAML or JSON, and keeps
// where everything stands in them. It owns reading, splitting into documents,
// positions, and writing a JSON patch back into the text so that the rest stays as
// its author wrote it, comments and order included.
//
// A value is what the API server would see: YAML is read as kubectl reads it, where
// an unquoted yes is a boolean.
package manifest
