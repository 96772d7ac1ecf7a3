package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootClock counts the time that the machine sleeps, unlike Go's clock: a token
// expires during it too.
func bootClock() func() time.Duration {
	return func() time.Duration {
		var t unix.Timespec
		if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
			return 0 // Linux has had it since 2.6.39
		}
		return time.Duration(t.Nano())
	}
}
