package token

import (
	"errors"
	"time"

	"golang.org/x/time/rate"
)

// How much to ask for in all. One pod has a handful of tokens, a few hundred if it
// works for many identities; what goes beyond is a mistake or an attack, for which
// Entra would throttle the whole tenant.
const (
	// maxExchanges and maxRenewals are under way at the same time.
	maxExchanges = 64
	maxRenewals  = 16
	// exchangeBurst may begin at once, then one every exchangePause.
	exchangeBurst = 100
	exchangePause = 100 * time.Millisecond
	// busyPause is when to come again.
	busyPause = 5 * time.Second
	// maxFailures bounds the keys without a token, those asked for right now among
	// them.
	maxFailures = 256
)

// ErrBusy says that more is asked for than may be. The tokens that are there are served all
// the same.
var ErrBusy = errors.New("too many token requests at the same time")

// A lane bounds the exchanges of one kind: how many are under way, and how many
// begin in a time. Tokens that callers wait for and renewals of good ones have one
// each, so that no number of the former keeps the latter from being renewed.
// Source.mu guards it.
type lane struct {
	free int
	rate *rate.Limiter
}

func newLane(most int) *lane {
	return &lane{free: most, rate: rate.NewLimiter(rate.Every(exchangePause), exchangeBurst)}
}

// enter takes a place if there is one.
func (l *lane) enter(now time.Duration) bool {
	if l.free == 0 || !l.rate.AllowN(time.Time{}.Add(now), 1) {
		return false
	}
	l.free--
	return true
}
