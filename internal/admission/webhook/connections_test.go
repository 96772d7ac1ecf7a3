package webhook

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// arrivals is a listener whose connections a test sends.
type arrivals chan net.Conn

func (a arrivals) Accept() (net.Conn, error) {
	if conn, ok := <-a; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}
func (a arrivals) Close() error { close(a); return nil }
func (arrivals) Addr() net.Addr { return &net.TCPAddr{} }

type caller struct {
	net.Conn
	addr   string
	closed bool
}

func (c *caller) Close() error { c.closed = true; return nil }
func (c *caller) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.addr))
}

// TestConnections: who has to go for whom. A step is a caller and what happens: "a+"
// comes, "a?" comes and has to wait, "a!" has a request being answered, "a=" has it
// answered, "a-" is closed by the server, "a*" shows its certificate. Callers of one
// letter share an address.
func TestConnections(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		verified bool
		steps    string
		evicted  string
	}{
		{"room for eight", false, "a1+ a2+ a3+ a4+ b1+ b2+ b3+ b4+", ""},
		{"the oldest that has delivered nothing", false, "a1+ a1! a1= a2+ a3+ a4+ b1+ b2+ b3+ b4+ c1+ c2+", "a2 a3"},
		{"else the idle one that has delivered least", false, "a1+ a1! a1= a1! a1= a2+ a2! a2= b1+ b1! b1= b2+ b2! b2= c1+ c1! c1= c2+ c2! c2= d1+ d1! d1= d2+ d2! d2= e1+", "a2"},
		{"six of one address", false, "a1+ b1+ a2+ a3+ a4+ a5+ a6+ a7+ a8+ c1+", "a1 a2"},
		{"none that is being answered", false, "a1+ a1! a2+ a2! a3+ a3! a4+ a4! b1+ b1! b2+ b2! b3+ b3! b4+ b4! c1? a3=", "a3"},
		{"a place that is free", false, "a1+ a1! a2+ a2! a3+ a3! a4+ a4! b1+ b1! b2+ b2! b3+ b3! b4+ b4! c1? a3-", ""},
		{"verified callers keep their places", true, "a1+ a1* b1+ b1* c1+ c2+", "c1"},
		{"and lose them to each other alone", true, "a1+ a1* a2+ a2* a3+ a3* a4+ a4* a5+ a5* a6+ a6* x1+ a7+ a7*", "a1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { play(t, tt.verified, tt.steps, tt.evicted) })
		})
	}
}

func play(t *testing.T, verified bool, steps, evicted string) {
	t.Helper()
	from := make(arrivals)
	c := newConnections(from, 8)
	if verified {
		c = c.withVerified()
	}
	taken := make(chan *connection, 100)
	go func() {
		for {
			conn, err := c.Accept()
			if err != nil {
				close(taken)
				return
			}
			taken <- conn.(*connection)
		}
	}()
	callers, open := map[string]*caller{}, map[string]*connection{}
	waiting := ""
	for step := range strings.FieldsSeq(steps) {
		name, what := step[:2], step[2:]
		switch what {
		case "+", "?":
			callers[name] = &caller{addr: fmt.Sprintf("10.0.0.%d:1", name[0])}
			from <- callers[name]
			synctest.Wait()
			if what == "?" {
				waiting = name
				if len(taken) > 0 {
					t.Errorf("%s did not wait", name)
				}
				continue
			}
			select {
			case open[name] = <-taken:
			default:
				t.Fatalf("%s has to wait", name)
			}
		case "!":
			open[name].begin()
		case "=":
			open[name].end(true)
		case "*":
			open[name].verify()
		case "-":
			_ = open[name].Close()
			delete(callers, name)
		}
	}
	synctest.Wait()
	if waiting != "" && len(taken) == 0 {
		t.Errorf("%s waits on", waiting)
	}
	var got []string
	for name, caller := range callers {
		if caller.closed {
			got = append(got, name)
		}
	}
	slices.Sort(got)
	want := strings.Fields(evicted)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("evicted %q, want %q", got, want)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	synctest.Wait()
}

// TestConnectionsEnd: Close ends an Accept that waits for room.
func TestConnectionsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from := make(arrivals)
		c := newConnections(from, 2)
		var last error
		go func() {
			for {
				conn, err := c.Accept()
				if err != nil {
					last = err
					return
				}
				conn.(*connection).begin()
			}
		}()
		for range 2 {
			from <- &caller{addr: "10.0.0.1:1"}
		}
		synctest.Wait()
		if last != nil {
			t.Fatal("nobody waits")
		}
		_ = c.Close()
		synctest.Wait()
		if !errors.Is(last, net.ErrClosed) {
			t.Errorf("Accept ended with %v", last)
		}
	})
}
