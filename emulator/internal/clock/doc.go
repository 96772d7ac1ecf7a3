// Package clock is the emulator's time: the machine's, plus what a test has
// advanced it by. It never goes back.
package clock
