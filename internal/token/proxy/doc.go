// Package proxy is the sidecar that answers managed identity requests with tokens
// of workload identity: whom it answers, as which identity, what it forwards to
// the real metadata service, its listeners, probe and metrics.
//
// It never forwards a path that the real metadata service could answer with the
// node's identity, and never writes a token, assertion or secret to a log.
package proxy
