// Package lint finds the mistakes that keep workload identity from working, in
// manifests, before there is a cluster. It owns the rules, their names and their
// severities; docs/lint.md has an example of each. What injection itself warns of
// or denies it asks package inject, so both speak with one voice.
package lint
