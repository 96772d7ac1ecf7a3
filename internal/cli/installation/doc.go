// Package installation owns the flags and the printing of azwi install, upgrade,
// uninstall and status. What they do is internal/install's.
package installation
