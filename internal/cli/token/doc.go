// Package token owns the flags and the printing of azwi token and azwi wait. Whose
// token it is, and waiting, is internal/cli/exchange's.
package token
