// Package serviceaccount owns the flags and the printing of azwi serviceaccount.
// What is there, what follows and how it is done is internal/identity/provision's.
package serviceaccount
