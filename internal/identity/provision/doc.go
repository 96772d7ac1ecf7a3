// Package provision owns what one Kubernetes service account needs to use an
// identity of Azure: the identity itself, an application with its service
// principal or a managed identity; the annotations of the service account; and a
// role. Each step finds what an earlier run, or upstream's azwi, has made.
// Federated credentials are internal/identity/federation's.
package provision
