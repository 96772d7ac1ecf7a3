// Package graph is a small typed client of Microsoft Graph: applications, their
// federated identity credentials, and service principals. It sends through
// azure.Service, which signs in and retries. It decides nothing: what to create is internal/identity/federation's.
package graph
