// Package documenttest makes JSON Schemas of the types of documents, for tests
// that hold docs/schema true.
package documenttest
