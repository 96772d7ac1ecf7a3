package loglevel

import (
	"context"
	"log/slog"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// How many records pass: a burst, then so many a second.
const (
	recordBurst    = 200
	recordsASecond = 5
)

// Bounded passes records on to h until there are too many, then five a second. The
// first one after a gap says in "suppressed" how many are missing. It is for
// programs that strangers can have write a line for each request. Where h writes
// debug lines, somebody is looking: nothing is left out then.
func Bounded(h slog.Handler) slog.Handler {
	if h.Enabled(context.Background(), slog.LevelDebug) { //nolint:forbidigo // no request is concerned
		return h
	}
	return &bounded{h, rate.NewLimiter(recordsASecond, recordBurst), new(atomic.Int64)}
}

type bounded struct {
	slog.Handler

	limit      *rate.Limiter
	suppressed *atomic.Int64
}

func (b *bounded) Handle(ctx context.Context, r slog.Record) error {
	if !b.limit.Allow() {
		b.suppressed.Add(1)
		return nil
	}
	if n := b.suppressed.Swap(0); n > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int64("suppressed", n))
	}
	return b.Handler.Handle(ctx, r)
}

func (b *bounded) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &bounded{b.Handler.WithAttrs(attrs), b.limit, b.suppressed}
}

func (b *bounded) WithGroup(name string) slog.Handler {
	return &bounded{b.Handler.WithGroup(name), b.limit, b.suppressed}
}
