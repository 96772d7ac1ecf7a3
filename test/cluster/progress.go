package cluster

import (
	"fmt"
	"io"
	"os"
	"time"
)

// progress tells of something long: on a terminal by one line that changes, else
// by a line now and then, so that a log stays readable.
type progress struct {
	w        io.Writer
	terminal bool
	began    time.Time
	next     time.Time // when the next line is due
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, began: time.Now()}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// say prints a line at once.
func (p *progress) say(format string, args ...any) {
	fmt.Fprintf(p.w, p.clear()+format+"\n", args...)
}

// update prints how far it is, if that is due.
func (p *progress) update(format string, args ...any) {
	now := time.Now()
	if now.Before(p.next) {
		return
	}
	if p.terminal {
		p.next = now.Add(200 * time.Millisecond)
		fmt.Fprintf(p.w, "%s%s: %s", p.clear(), p.elapsed(), fmt.Sprintf(format, args...))
		return
	}
	p.next = now.Add(30 * time.Second)
	p.say("%s: %s", p.elapsed(), fmt.Sprintf(format, args...))
}

// done prints the last line.
func (p *progress) done(format string, args ...any) {
	p.say("%s in %s", fmt.Sprintf(format, args...), p.elapsed())
}

func (p *progress) clear() string {
	if p.terminal {
		return "\r\x1b[K"
	}
	return ""
}

func (p *progress) elapsed() string { return time.Since(p.began).Round(time.Second).String() }
