// Package statefile writes files whole or not at all, and reads back what it
// wrote. It knows no content.
package statefile
