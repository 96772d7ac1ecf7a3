package connlimit

import (
	"net"
	"net/http"
	"sync"
)

// A Limiter bounds the connections of the servers whose ConnState it is. For one too
// many it closes the oldest that has not delivered a request yet, or else the one
// that has been idle for longest. While all are answering requests, the new one is
// closed.
type Limiter struct {
	most int

	mu    sync.Mutex
	conns map[net.Conn]place
	clock uint64 // counts changes
}

// A place is a connection's state, and when it got there.
type place struct {
	state http.ConnState
	since uint64
}

// New returns a Limiter of so many connections, which must be at least 1.
func New(most int) *Limiter {
	return &Limiter{most: most, conns: make(map[net.Conn]place)}
}

// ConnState is for http.Server's field of that name.
func (l *Limiter) ConnState(c net.Conn, state http.ConnState) {
	if victim := l.note(c, state); victim != nil {
		_ = victim.Close() // nothing is owed to it
	}
}

// note records a state and returns the connection to close, if there is one.
func (l *Limiter) note(c net.Conn, state http.ConnState) net.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clock++
	if state == http.StateClosed || state == http.StateHijacked {
		delete(l.conns, c)
		return nil
	}
	if _, ok := l.conns[c]; !ok && state != http.StateNew {
		return nil // closed for another one a moment ago
	}
	var victim net.Conn
	if state == http.StateNew && len(l.conns) >= l.most {
		if victim = l.victim(); victim == nil {
			return c
		}
		delete(l.conns, victim)
	}
	l.conns[c] = place{state, l.clock}
	return victim
}

// victim chooses among the connections that owe no answer. New ones keep a quarter
// of the room: otherwise, once the others are idle, each newcomer would push out
// the one before it, which may be about to deliver.
func (l *Limiter) victim() net.Conn {
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
		return second
	}
	return first
}
