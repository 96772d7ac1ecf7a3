// Package emulatortest runs an emulator inside a Go test.
//
// Start returns a server that Azure's SDKs take for the cloud; the example shows how.
package emulatortest
