package exchange

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"azwi/internal/identity/propagation"
	"azwi/internal/terminal"
	"azwi/internal/token/entra"
)

// A screen is written by one goroutine and read by another.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// On a terminal one line counts down, and is gone at the end.
func TestCountdown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out screen
		v := newWaitView(terminal.New(&out), make([]propagation.Target, 2))
		v.terminal = true
		stop := v.start()
		missed := &entra.Error{Status: 401, Code: 70025}
		v.update(propagation.Progress{Target: 0, Name: "shop/orders", Next: time.Now().Add(10 * time.Second), Err: missed})
		v.update(propagation.Progress{Target: 1, Name: "shop/worker", Done: true})
		shown := func() string {
			synctest.Wait()
			text := out.String()
			return text[strings.LastIndex(text, "\r\x1b[K")+len("\r\x1b[K"):]
		}
		for _, want := range []string{"9s", "8s"} {
			<-time.After(time.Second)
			want = "waiting for 1 of 2 credentials: next try in " + want + " (not known everywhere yet: AADSTS70025)"
			if got := shown(); got != want {
				t.Errorf("shows %q, want %q", got, want)
			}
		}
		v.update(propagation.Progress{Target: 0, Name: "shop/orders", Streak: 7, Need: 60})
		<-time.After(time.Second)
		if got, want := shown(), "waiting for 1 of 2 credentials: 7 of 60 tokens in a row"; got != want {
			t.Errorf("shows %q, want %q", got, want)
		}
		stop()
		if got := shown(); got != "" {
			t.Errorf("%q remains", got)
		}
	})
}
