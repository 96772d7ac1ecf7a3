// Package fault decides which requests go wrong and how: throttled, failed, slow
// or cut, by path, share and time, and which issuers can't be reached. It
// decides only; the emulator acts.
package fault
