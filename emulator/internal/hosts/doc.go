// Package hosts knows which Azure host names the emulator serves, for the three
// public clouds, and which service stands behind each. The names come from the
// clouds table of internal/entra. It does no I/O.
package hosts
