package exchange

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"azwi/internal/finding"
	"azwi/internal/identity/propagation"
	"azwi/internal/terminal"
	"azwi/internal/token/entra"
)

// A waitView tells people how waiting goes on: a line that counts down on a
// terminal; elsewhere a line for each change, and one a minute.
type waitView struct {
	out      *terminal.Writer
	terminal bool
	began    time.Time

	mu    sync.Mutex
	state []propagation.Progress
	said  []said // by target
	// explained are the AADSTS codes whose advice was given.
	explained map[int]bool
}

// said is what was seen when the last line was written, and when that was.
type said struct {
	seen string
	at   time.Time
}

func newWaitView(out *terminal.Writer, targets []propagation.Target) *waitView {
	return &waitView{out: out, terminal: out.IsTerminal(), began: time.Now(), state: make([]propagation.Progress, len(targets)), said: make([]said, len(targets)), explained: map[int]bool{}}
}

// start keeps the countdown running until stop is called.
func (v *waitView) start() (stop func()) {
	if !v.terminal {
		return func() {}
	}
	ticker, done, ended := time.NewTicker(time.Second), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-ticker.C:
				v.countdown()
			case <-done:
				return
			}
		}
	}()
	return func() {
		ticker.Stop()
		close(done)
		<-ended
		v.out.Overwrite("")
	}
}

// update takes the news of one target.
func (v *waitView) update(p propagation.Progress) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state[p.Target] = p
	if v.terminal {
		v.explain(p.Err)
		return
	}
	if p.Done || p.Next.IsZero() {
		return // the result is told by the command
	}
	last, now := &v.said[p.Target], time.Now()
	if seen := because(p.Err); seen != last.seen || now.Sub(last.at) >= time.Minute {
		*last = said{seen, now}
		since := ""
		if waited := v.waited(); waited > 0 {
			since = fmt.Sprintf("; waiting for %s", waited)
		}
		v.out.Printf("%s: next token request in %s%s%s\n", p.Name, left(p.Next), seen, since)
	}
	v.explain(p.Err)
}

// explain says once what to do about a refusal that time alone does not mend.
func (v *waitView) explain(err error) {
	answer, ok := errors.AsType[*entra.Error](err)
	if !ok || answer.Class() == finding.Replication || v.explained[answer.Code] {
		return
	}
	v.explained[answer.Code] = true
	if advice := answer.Advice(); advice != "" {
		if v.terminal {
			v.out.Overwrite("")
		}
		v.out.Block("what to do: ", "  ", advice)
	}
}

// waited is how long it took until now.
func (v *waitView) waited() time.Duration { return time.Since(v.began).Round(time.Second) }

// countdown writes the line for a terminal.
func (v *waitView) countdown() {
	v.mu.Lock()
	defer v.mu.Unlock()
	var next propagation.Progress
	done, asking := 0, 0
	for _, p := range v.state {
		switch {
		case p.Done:
			done++
		case p.Next.IsZero():
			asking++
			next = p
		case asking == 0 && (next.Next.IsZero() || p.Next.Before(next.Next)):
			next = p
		}
	}
	what := fmt.Sprintf("%d of %d credentials", len(v.state)-done, len(v.state))
	if len(v.state) == 1 {
		what = v.state[0].Name
	}
	text := fmt.Sprintf("waiting %s for %s", v.waited(), what)
	if next.Next.IsZero() {
		text += fmt.Sprintf(": %d of %d tokens in a row", next.Streak, next.Need)
	} else {
		text += fmt.Sprintf(": next try in %s%s", left(next.Next), because(next.Err))
	}
	v.out.Overwrite("%s", text)
}

func left(next time.Time) time.Duration {
	d := time.Until(next)
	if d < time.Second {
		return max(d.Round(time.Millisecond), 0)
	}
	return d.Round(time.Second)
}

// because is short: the whole text comes with the result.
func because(err error) string {
	if err == nil {
		return ""
	}
	answer, ok := errors.AsType[*entra.Error](err)
	switch {
	case !ok:
		return " (no answer)"
	case answer.Code != 0 && answer.Class() == finding.Replication:
		return fmt.Sprintf(" (not known everywhere yet: AADSTS%d)", answer.Code)
	case answer.Code != 0:
		return fmt.Sprintf(" (AADSTS%d)", answer.Code)
	}
	return fmt.Sprintf(" (HTTP status %d)", answer.Status)
}
