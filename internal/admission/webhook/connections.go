package webhook

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// connections bounds the connections of one listener. Beyond the bound a newcomer
// takes the place of one that is worth less: one that has not yet delivered a
// request, else the idle one that has delivered the fewest. While every one has a
// request being answered, newcomers wait.
//
// Callers with a verified client certificate have a lane of their own: nobody
// without one takes a place there.
type connections struct {
	net.Listener
	// most and mostVerified are how many there may be in each lane.
	most, mostVerified int
	// mostOfOne is how many may come from one address.
	mostOfOne int

	mu      sync.Mutex
	changed sync.Cond // of anything below
	open    map[*connection]bool
	clock   uint64 // counts what happens, in order
	ended   bool
}

// A connection is a caller's. Its fields are guarded by connections.mu.
type connection struct {
	net.Conn
	in        *connections
	from      netip.Addr
	verified  bool
	answering bool   // a whole request has come and has not been answered
	delivered int    // requests that were in order
	used      uint64 // when it was last of use
	evicted   bool
	// cancel ends what is done for it, once http.Server has given it a context.
	cancel context.CancelFunc
}

func newConnections(l net.Listener, most int) *connections {
	c := &connections{Listener: l, most: most, mostOfOne: most * 3 / 4, open: map[*connection]bool{}}
	c.changed.L = &c.mu
	return c
}

// withVerified gives verified callers three quarters of the places.
func (c *connections) withVerified() *connections {
	c.mostVerified = c.most * 3 / 4
	c.most -= c.mostVerified
	c.mostOfOne = c.most * 3 / 4
	return c
}

// Accept waits for a connection, and for room.
func (c *connections) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		// The kernel's buffers count as ours. A failure is no reason to refuse.
		_ = tcp.SetReadBuffer(64 << 10)
		_ = tcp.SetWriteBuffer(64 << 10)
	}
	in := &connection{Conn: conn, in: c, cancel: func() {}}
	if addr, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		in.from = addr.Addr().Unmap()
	}
	if !c.enter(in) {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	return in, nil
}

// Close ends Accept, also one that waits for room.
func (c *connections) Close() error {
	c.mu.Lock()
	c.ended = true
	c.changed.Broadcast()
	c.mu.Unlock()
	return c.Listener.Close()
}

// enter waits for room and reports false when the listener was closed.
func (c *connections) enter(in *connection) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for ; !c.ended; c.changed.Wait() {
		for {
			all, ofOne, leaving := 0, 0, 0
			for o := range c.open {
				switch {
				case o.evicted:
					leaving++
				case o.verified:
				case o.from == in.from:
					all, ofOne = all+1, ofOne+1
				default:
					all++
				}
			}
			if all < c.most && ofOne < c.mostOfOne {
				c.open[in] = true
				in.touch()
				return true
			}
			// Those that are leaving still hold memory.
			if leaving > c.most/4 || !c.evict(func(o *connection) bool {
				return !o.verified && (ofOne < c.mostOfOne || o.from == in.from)
			}) {
				break
			}
		}
	}
	return false
}

// evict ends the connection that is worth least, if one may be ended.
func (c *connections) evict(may func(*connection) bool) bool {
	var least *connection
	for o := range c.open {
		if o.answering || o.evicted || !may(o) {
			continue
		}
		if least == nil || o.delivered < least.delivered || o.delivered == least.delivered && o.used < least.used {
			least = o
		}
	}
	if least == nil {
		return false
	}
	least.evicted = true
	least.cancel()
	_ = least.Conn.Close() // what it was worth is known
	return true
}

// touch must be called with the lock held.
func (c *connection) touch() {
	c.in.clock++
	c.used = c.in.clock
}

// verify moves a connection into the lane of verified callers.
func (c *connection) verify() {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	verified := 0
	for o := range c.in.open {
		if o.verified && !o.evicted {
			verified++
		}
	}
	if verified >= c.in.mostVerified {
		// Where all are being answered there is one more for a moment.
		c.in.evict(func(o *connection) bool { return o.verified })
	}
	c.verified = true
	c.touch()
	c.in.changed.Broadcast()
}

// begin says that a whole request has come; until end the connection stays. Both
// may be called on nil, of a connection that nobody bounds.
func (c *connection) begin() {
	if c == nil {
		return
	}
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.answering = true
}

// end says that the request is answered, and whether it was in order.
func (c *connection) end(ok bool) {
	if c == nil {
		return
	}
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.answering = false
	if ok {
		c.delivered++
	}
	c.touch()
	c.in.changed.Broadcast()
}

// Close is called by the server, once it is done with the connection.
func (c *connection) Close() error {
	err := c.Conn.Close()
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	delete(c.in.open, c)
	c.cancel()
	c.in.changed.Broadcast()
	return err
}

type connectionKey struct{}

// withConnection is for http.Server's ConnContext.
func withConnection(ctx context.Context, conn net.Conn) context.Context {
	c := asConnection(conn)
	if c == nil {
		return ctx
	}
	ctx, cancel := context.WithCancel(ctx)
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.cancel = cancel
	return context.WithValue(ctx, connectionKey{}, c)
}

// wholeRequests is for handlers of requests without a body.
func wholeRequests(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := connectionOf(r.Context())
		c.begin()
		defer c.end(true)
		h.ServeHTTP(w, r)
	})
}

func asConnection(conn net.Conn) *connection {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	c, _ := conn.(*connection)
	return c
}

// connectionOf returns the connection of a request's context, nil if nobody bounds it.
func connectionOf(ctx context.Context) *connection {
	c, _ := ctx.Value(connectionKey{}).(*connection)
	return c
}
