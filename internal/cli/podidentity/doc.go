// Package podidentity owns the flags of azwi podidentity, and the files that it
// writes. The conversion is internal/migrate's.
package podidentity
