// Package seed reads the seed file: what is in the directory at the start, where
// issuers' keys are, and how changes spread. It validates; package directory
// holds the outcome.
package seed
