package clock

import (
	"sync/atomic"
	"time"
)

// A Clock is safe for concurrent use.
type Clock struct {
	base   func() time.Time
	offset atomic.Int64
}

// New returns a clock over base; nil is time.Now.
func New(base func() time.Time) *Clock {
	if base == nil {
		base = time.Now
	}
	return &Clock{base: base}
}

// Now is the emulated time, in UTC.
func (c *Clock) Now() time.Time {
	return c.base().Add(time.Duration(c.offset.Load())).UTC()
}

// Advance moves the clock forward. Negative durations count as zero.
func (c *Clock) Advance(d time.Duration) {
	c.offset.Add(int64(max(d, 0)))
}

// Offset is how far the clock is ahead of the machine's.
func (c *Clock) Offset() time.Duration {
	return time.Duration(c.offset.Load())
}
