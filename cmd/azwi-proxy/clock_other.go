//go:build !linux

package main

import "time"

// bootClock is for Linux only; nil leaves Go's clock.
func bootClock() func() time.Duration { return nil }
