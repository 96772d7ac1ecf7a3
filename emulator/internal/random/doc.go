// Package random is a stream of random numbers that a printed seed repeats. It
// decides what may differ between two runs (delays, which replica answers, which
// request a fault hits); it never makes keys, secrets or identifiers.
package random
