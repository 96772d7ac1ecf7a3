// Package policy owns the flags of azwi policy. The policies are
// internal/pod/policy's.
package policy
