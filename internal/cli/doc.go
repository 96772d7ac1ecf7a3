// Package cli owns the tree of azwi's commands, and starts them. Each noun has a
// package below, which turns flags into the configuration of other packages and
// their results into text or JSON; what they share is internal/cli/command's.
package cli
