// Package docs holds the documentation to what the programs are: its links lead
// somewhere, the commands and flags that it names exist, and its reference pages are
// written from the code.
package docs
