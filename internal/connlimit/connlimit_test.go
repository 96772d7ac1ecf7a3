package connlimit_test

import (
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"azwi/internal/connlimit"
)

// A conn notes that it was closed.
type conn struct {
	net.Conn

	name   string
	closed *[]string
}

func (c *conn) Close() error {
	*c.closed = append(*c.closed, c.name)
	return nil
}

func TestLimiter(t *testing.T) {
	t.Parallel()
	const fresh, active, idle = http.StateNew, http.StateActive, http.StateIdle
	for name, tt := range map[string]struct {
		have []http.ConnState // of a to d; the limit is 4
		then int              // connections that come
		want []string
	}{
		"room":                          {[]http.ConnState{fresh, fresh, fresh}, 1, nil},
		"fresh ones go first":           {[]http.ConnState{idle, fresh, fresh, active}, 1, []string{"b"}},
		"the oldest of them":            {[]http.ConnState{fresh, fresh, fresh, fresh}, 3, []string{"a", "b", "c"}},
		"idle if none is fresh":         {[]http.ConnState{active, idle, idle, active}, 1, []string{"b"}},
		"a fresh one keeps a place":     {[]http.ConnState{idle, idle, idle, fresh}, 1, []string{"a"}},
		"not two":                       {[]http.ConnState{idle, idle, idle, fresh}, 2, []string{"a", "d"}},
		"those with requests are safe":  {[]http.ConnState{active, active, active, active}, 2, []string{"e", "f"}},
		"and the rest makes room":       {[]http.ConnState{active, active, active, idle}, 2, []string{"d", "e"}},
		"one that was idle is busy now": {[]http.ConnState{active, active, active, fresh}, 1, []string{"d"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := connlimit.New(4, 0)
			var closed []string
			var all []*conn
			add := func() *conn {
				c := &conn{name: string(rune('a' + len(all))), closed: &closed}
				all = append(all, c)
				l.ConnState(c, fresh)
				return c
			}
			for _, state := range tt.have {
				c := add()
				for _, s := range []http.ConnState{active, idle} {
					if state != fresh && (s == state || state == idle) {
						l.ConnState(c, s)
					}
				}
			}
			for range tt.then {
				add()
			}
			if diff := cmp.Diff(tt.want, closed); diff != "" {
				t.Error(diff)
			}
			// Each one makes room when it ends, whatever the server said of it before.
			for _, c := range all {
				l.ConnState(c, active)
				l.ConnState(c, http.StateClosed)
			}
			for range 4 {
				add()
			}
			if len(closed) != len(tt.want) {
				t.Errorf("after the end of all: closed %v", closed)
			}
		})
	}
}

// Clients that come together are not cut off before they could deliver their requests.
func TestGrace(t *testing.T) {
	t.Parallel()
	const grace = 200 * time.Millisecond
	const fresh, active, idle = http.StateNew, http.StateActive, http.StateIdle
	for name, tt := range map[string]struct {
		have []http.ConnState // of a to d; the limit is 4
		// meanwhile happens 50 ms after e has come.
		meanwhile func(l *connlimit.Limiter, all []*conn)
		after     time.Duration // until e is in, or closed
		want      []string
	}{
		"the oldest had its time":        {[]http.ConnState{fresh, fresh, fresh, fresh}, nil, grace, []string{"a"}},
		"one ends":                       {[]http.ConnState{fresh, fresh, fresh, fresh}, func(l *connlimit.Limiter, all []*conn) { l.ConnState(all[2], http.StateClosed) }, 50 * time.Millisecond, nil},
		"one gets idle":                  {[]http.ConnState{active, active, active, active}, func(l *connlimit.Limiter, all []*conn) { l.ConnState(all[1], idle) }, 50 * time.Millisecond, []string{"b"}},
		"the oldest delivers, the next":  {[]http.ConnState{fresh, fresh, fresh, fresh}, func(l *connlimit.Limiter, all []*conn) { l.ConnState(all[0], active) }, grace, []string{"b"}},
		"all are busy":                   {[]http.ConnState{active, active, active, active}, nil, grace, []string{"e"}},
		"an idle one makes room at once": {[]http.ConnState{active, active, active, idle}, nil, 0, []string{"d"}},
		"one that ends twice is not two": {[]http.ConnState{active, active, active, active}, func(l *connlimit.Limiter, all []*conn) {
			l.ConnState(all[0], http.StateClosed)
			l.ConnState(all[0], http.StateClosed)
		}, 50 * time.Millisecond, nil},
		"idle ones are kept from a flood": {[]http.ConnState{idle, fresh, fresh, fresh}, nil, grace, []string{"b"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := connlimit.New(4, grace)
				var closed []string
				var all []*conn
				for i, state := range append(tt.have, fresh) {
					c := &conn{name: string(rune('a' + i)), closed: &closed}
					all = append(all, c)
					if i == len(tt.have) {
						break
					}
					l.ConnState(c, fresh)
					for _, s := range []http.ConnState{active, idle} {
						if state != fresh && (s == state || state == idle) {
							l.ConnState(c, s)
						}
					}
				}
				came := time.Now()
				if tt.meanwhile != nil {
					go func() {
						<-time.After(50 * time.Millisecond)
						tt.meanwhile(l, all)
					}()
				}
				l.ConnState(all[4], fresh)
				if took := time.Since(came); took != tt.after {
					t.Errorf("it took %s, want %s", took, tt.after)
				}
				if diff := cmp.Diff(tt.want, closed); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}
