package connlimit

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// A Limiter bounds the connections of the servers whose ConnState it is. For one too
// many it closes the oldest that has not delivered a request within the grace, or else
// the one that has been idle for longest. If there is none, the server accepts no more
// until there is, but at most for the grace; then the new one is closed.
type Limiter struct {
	most  int
	grace time.Duration

	mu      sync.Mutex
	conns   map[net.Conn]place
	clock   uint64        // counts changes
	changed chan struct{} // closed when one ends or becomes idle; nil unless a new one waits
}

// A place is a connection's state, and when it got there.
type place struct {
	state http.ConnState
	since uint64
	until time.Time // the end of a new one's grace
}

// New returns a Limiter of so many connections, which must be at least 1. Clients that
// come together are given the grace to deliver their requests.
func New(most int, grace time.Duration) *Limiter {
	return &Limiter{most: most, grace: grace, conns: make(map[net.Conn]place)}
}

// ConnState is for http.Server's field of that name. For a new connection it may take
// the grace: servers call it before they accept another one.
func (l *Limiter) ConnState(c net.Conn, state http.ConnState) {
	if state != http.StateNew {
		l.note(c, state)
		return
	}
	for deadline := time.Now().Add(l.grace); ; {
		victim, wait, changed := l.enter(c, deadline)
		if changed == nil {
			if victim != nil {
				_ = victim.Close() // nothing is owed to it
			}
			return
		}
		timer := time.NewTimer(wait)
		select {
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// note records a state.
func (l *Limiter) note(c net.Conn, state http.ConnState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.conns[c]; !ok {
		return // closed for another one a moment ago
	}
	l.clock++
	switch state {
	case http.StateClosed, http.StateHijacked:
		delete(l.conns, c)
	default:
		l.conns[c] = place{state: state, since: l.clock}
	}
	if state != http.StateActive && l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// enter records a new connection, and returns the one to close for it, if there is one:
// itself after the deadline. Otherwise it returns how long to wait for a change.
func (l *Limiter) enter(c net.Conn, deadline time.Time) (victim net.Conn, wait time.Duration, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if len(l.conns) >= l.most {
		victim, wait = l.victim(now)
		switch {
		case victim != nil:
			delete(l.conns, victim)
		case now.Before(deadline):
			if l.changed == nil {
				l.changed = make(chan struct{})
			}
			return nil, min(wait, deadline.Sub(now)), l.changed
		default:
			return c, 0, nil
		}
	}
	l.clock++
	l.conns[c] = place{http.StateNew, l.clock, now.Add(l.grace)}
	return victim, 0, nil
}

// victim chooses among the connections that owe no answer, or returns how long it takes
// until there may be one. New ones keep a quarter of the room: otherwise, once the others
// are idle, each newcomer would push out the one before it, which may be about to deliver.
func (l *Limiter) victim(now time.Time) (victim net.Conn, wait time.Duration) {
	var oldest [http.StateClosed + 1]net.Conn
	fresh := 0
	for c, p := range l.conns {
		if p.state == http.StateNew {
			fresh++
		}
		if o := oldest[p.state]; o == nil || p.since < l.conns[o].since {
			oldest[p.state] = c
		}
	}
	first, second := oldest[http.StateNew], oldest[http.StateIdle]
	if first == nil || second != nil && fresh*4 <= l.most {
		return second, l.grace
	}
	if wait = l.conns[first].until.Sub(now); wait > 0 {
		return nil, wait
	}
	return first, 0
}
