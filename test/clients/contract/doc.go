// Package contract is what the emulator and the real cloud must both do. It runs
// against the emulator always, and against the cloud with the build tag azure and
// credentials in the environment, so that the emulator can't drift unseen.
package contract
