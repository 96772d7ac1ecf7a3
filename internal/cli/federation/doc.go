// Package federation owns the flags and the printing of azwi federation. Plans and
// writes are internal/identity/federation's.
package federation
