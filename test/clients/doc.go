// Package clients runs the real clients of Azure, unmodified, against the
// emulator: Go, Node and Python SDKs and az, each through both ways in where it
// can. No code of this project stands between them; the programs under gosdk,
// node and python are what an application's author would write.
//
// The script run installs what is missing and runs everything.
package clients
