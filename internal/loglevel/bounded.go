package loglevel

import (
	"context"
	"log/slog"
	"sync"

	"golang.org/x/time/rate"
)

// How many records of one message pass: a burst, then so many a second.
const (
	recordBurst    = 200
	recordsASecond = 5
	// mostMessages bounds those that are counted; programs have few, all constant.
	mostMessages = 1000
)

// Bounded passes records on to h until there are too many of the same message, then
// five a second. The first one after a gap says in "suppressed" how many are missing.
// It is for programs that strangers can have write a line for each request; a flood of
// refusals hides no other message. Where h writes debug lines, somebody is looking:
// nothing is left out then.
func Bounded(h slog.Handler) slog.Handler {
	return &bounded{h, &messages{limits: map[string]*limit{}}}
}

type bounded struct {
	slog.Handler

	messages *messages
}

// messages are shared by the loggers made of one.
type messages struct {
	mu     sync.Mutex
	limits map[string]*limit
}

type limit struct {
	rate       *rate.Limiter
	suppressed int64
}

// allow reports whether a record may be written, and how many like it were not since
// the last one.
func (m *messages) allow(message string) (suppressed int64, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.limits[message]
	if l == nil {
		if len(m.limits) >= mostMessages {
			return 0, true
		}
		l = &limit{rate: rate.NewLimiter(recordsASecond, recordBurst)}
		m.limits[message] = l
	}
	if !l.rate.Allow() {
		l.suppressed++
		return 0, false
	}
	suppressed, l.suppressed = l.suppressed, 0
	return suppressed, true
}

func (b *bounded) Handle(ctx context.Context, r slog.Record) error {
	if b.Enabled(ctx, slog.LevelDebug) {
		return b.Handler.Handle(ctx, r)
	}
	n, ok := b.messages.allow(r.Message)
	if !ok {
		return nil
	}
	if n > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int64("suppressed", n))
	}
	return b.Handler.Handle(ctx, r)
}

func (b *bounded) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &bounded{b.Handler.WithAttrs(attrs), b.messages}
}

func (b *bounded) WithGroup(name string) slog.Handler {
	return &bounded{b.Handler.WithGroup(name), b.messages}
}
