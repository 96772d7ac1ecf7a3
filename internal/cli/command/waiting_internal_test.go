package command

import (
	"bytes"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"azwi/internal/terminal"
)

// A screen is written by a timer and read by the test.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// take returns what was written since it was called last.
func (s *screen) take() string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.text.Reset()
	return s.text.String()
}

// After some silence a line says what is waited for, and how long in all.
func TestWaiting(t *testing.T) {
	t.Parallel()
	const erase = "\r\x1b[K"
	pass := func(d time.Duration) { <-time.After(d + time.Millisecond) }
	synctest.Test(t, func(t *testing.T) {
		var out screen
		w := &waiting{out: terminal.New(&out), terminal: true}
		quick := w.begin("graph.microsoft.com")
		pass(time.Second)
		quick()
		pass(10 * time.Second)
		if got := out.take(); got != "" {
			t.Errorf("after a quick answer: %q", got)
		}
		outer := w.begin("graph.microsoft.com")
		inner := w.begin("login.microsoftonline.com")
		pass(silence)
		if got, want := out.take(), erase+"waiting for login.microsoftonline.com (2 s) ..."; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		inner()
		pass(time.Second)
		if got, want := out.take(), erase+"waiting for graph.microsoft.com (3 s) ..."; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		w.out.Printf("other\n")
		if got, want := out.take(), erase+"other\n"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		outer()
		pass(time.Minute)
		if got := out.take(); got != erase {
			t.Errorf("at the end: %q", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var out screen
		w := &waiting{out: terminal.New(&out)}
		done := w.begin("graph.microsoft.com")
		pass(time.Minute)
		done()
		if got, want := out.take(), "waiting for graph.microsoft.com (10 s) ...\n"; got != want {
			t.Errorf("without a terminal: %q, want %q", got, want)
		}
	})
}
