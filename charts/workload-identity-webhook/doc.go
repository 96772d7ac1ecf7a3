// Package chart holds the Helm chart workload-identity-webhook, so that azwi can
// install it without a file beside it.
package chart
