package connlimit_test

import (
	"net"
	"net/http"
	"testing"

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
			l := connlimit.New(4)
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
