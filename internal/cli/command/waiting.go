package command

import (
	"slices"
	"sync"
	"time"

	"azwi/internal/terminal"
)

// How long a command is silent while it waits for an answer, on a terminal and elsewhere.
const (
	silence      = 2 * time.Second
	silenceInLog = 10 * time.Second
)

// waiting are the requests that have no answer yet, the first one first.
type waiting struct {
	out      *terminal.Writer
	terminal bool

	mu    sync.Mutex
	open  []*openRequest
	timer *time.Timer
	told  bool
}

type openRequest struct {
	host  string
	since time.Time
}

// Waiting takes note of a request to a host, until done is called. If it takes long, a
// line on standard error says so: on a terminal one that counts and vanishes.
func (r *Env) Waiting(host string) (done func()) { return r.waits.begin(host) }

func (w *waiting) begin(host string) (done func()) {
	one := &openRequest{host, time.Now()}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open = append(w.open, one); len(w.open) == 1 {
		after := silenceInLog
		if w.terminal {
			after = silence
		}
		w.timer = time.AfterFunc(after, w.tell)
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.open = slices.DeleteFunc(w.open, func(o *openRequest) bool { return o == one })
		if len(w.open) > 0 {
			return
		}
		w.timer.Stop()
		if w.told && w.terminal {
			w.out.Overwrite("")
		}
		w.told = false
	}
}

// tell names the last host that was asked: one request may need another, such as that for
// a token.
func (w *waiting) tell() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.open) == 0 {
		return
	}
	w.told = true
	host, waited := w.open[len(w.open)-1].host, time.Since(w.open[0].since).Round(time.Second)/time.Second
	if !w.terminal {
		w.out.Printf("waiting for %s (%d s) ...\n", host, waited)
		return
	}
	w.out.Overwrite("waiting for %s (%d s) ...", host, waited)
	w.timer.Reset(time.Second)
}
