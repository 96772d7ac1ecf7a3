package federation

import (
	"azwi/internal/identity/federation"
	"azwi/internal/terminal"
)

// A changeView tells about changes while they are made: a line each, and on a
// terminal how far it is. It is silent if the output is not text.
type changeView struct {
	f        *federationRun
	terminal bool
	of, n    int
}

func newChangeView(f *federationRun, of int) *changeView {
	v := &changeView{f: f, of: of, terminal: f.Err.IsTerminal()}
	v.status()
	return v
}

// done tells of a change, one at a time.
func (v *changeView) done(c federation.Change, err error) {
	v.clear()
	v.n++
	account, cluster := v.f.account(c.Subject), v.f.cluster(c.Issuer)
	switch {
	case err != nil:
		v.f.Err.Printf("%s: %s %s on %s\n", c.Identity, terminal.Bad.Text("NOT "+past(c.Action)), account, cluster)
	case v.f.output == "text":
		v.f.Out.Printf("%s: %s %s on %s\n", c.Identity, colour(c.Action).Text(past(c.Action)), account, cluster)
	}
	v.status()
}

func (v *changeView) status() {
	if v.terminal && v.n < v.of {
		v.f.Err.Overwrite("%d of %d", v.n, v.of)
	}
}

func (v *changeView) clear() {
	if v.terminal {
		v.f.Err.Overwrite("")
	}
}

func (v *changeView) end() { v.clear() }

func past(action federation.Action) string {
	switch action {
	case federation.Add:
		return "added"
	case federation.Remove:
		return "removed"
	}
	return "changed"
}
