// Package lint owns the flags and the printing of azwi lint. The rules are
// internal/pod/lint's, their texts internal/finding's.
package lint
