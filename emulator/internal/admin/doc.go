// Package admin is the management API: what is true inside the emulator, and the
// switches of a test. It listens on a port of its own and wants a bearer token.
package admin
