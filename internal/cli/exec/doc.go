// Package exec owns azwi exec: a command that runs with the credentials of a
// service account. The managed identity endpoint is internal/token/proxy's.
package exec
