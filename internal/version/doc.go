// Package version tells which build of this project is running.
package version
