// Package permissions owns the flags and the printing of azwi permissions. The check
// is internal/azure/permission's.
package permissions
