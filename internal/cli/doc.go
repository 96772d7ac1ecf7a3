// Package cli is the command azwi: its commands, their flags and what they print.
// A command is a struct of its options, a constructor that declares the flags, and
// a function that runs it; what it does is done by other packages.
package cli
