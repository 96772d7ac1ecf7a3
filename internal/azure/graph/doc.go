// Package graph is a small typed client of Microsoft Graph: applications, their
// federated identity credentials, and service principals. It sends through the
// pipeline of Azure's SDK, which signs in, retries 429 and 5xx, and honours
// Retry-After. It decides nothing: what to create is internal/identity/federation's.
package graph
