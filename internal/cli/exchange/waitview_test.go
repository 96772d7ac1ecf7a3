package exchange

import (
	"bytes"
	"fmt"
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
		for i, want := range []string{"9s", "8s"} {
			<-time.After(time.Second)
			want = fmt.Sprintf("waiting %ds for 1 of 2 credentials: next try in %s (not known everywhere yet: AADSTS70025)", i+1, want)
			if got := shown(); got != want {
				t.Errorf("shows %q, want %q", got, want)
			}
		}
		v.update(propagation.Progress{Target: 0, Name: "shop/orders", Streak: 7, Need: 60})
		<-time.After(time.Second)
		if got, want := shown(), "waiting 3s for 1 of 2 credentials: 7 of 60 tokens in a row"; got != want {
			t.Errorf("shows %q, want %q", got, want)
		}
		stop()
		if got := shown(); got != "" {
			t.Errorf("%q remains", got)
		}
	})
}

// Elsewhere a line says what is seen when that changes, and once a minute; the advice comes
// with the first refusal that it is about.
func TestLines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out screen
		v := newWaitView(terminal.New(&out), make([]propagation.Target, 1))
		fault := &entra.Error{Status: 400, Code: 50166}
		for i := range 14 {
			var err error
			if i > 0 {
				err = fault
			}
			v.update(propagation.Progress{Name: "shop/orders", Next: time.Now().Add(10 * time.Second), Err: err})
			<-time.After(10 * time.Second)
		}
		const want = `shop/orders: next token request in 10s
shop/orders: next token request in 10s (AADSTS50166); waiting for 10s
what to do: Entra could not fetch the issuer's discovery document or keys: both must be public, over https, with a certificate from a public CA
shop/orders: next token request in 10s (AADSTS50166); waiting for 1m10s
shop/orders: next token request in 10s (AADSTS50166); waiting for 2m10s
`
		if got := out.String(); got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	})
}
