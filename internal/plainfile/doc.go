// Package plainfile reads files that must be regular ones, such as mounted keys and
// certificates, without ever waiting: opening a named pipe blocks until somebody
// writes to it.
package plainfile
