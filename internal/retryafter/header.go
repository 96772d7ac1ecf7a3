package retryafter

import (
	"net/http"
	"strconv"
	"time"
)

// most is what absurd values count as.
const most = 24 * time.Hour

// Of returns how long an answer asks to wait, in either form of the header, seconds or
// a date: between 0 and a day. It is 0 if the answer does not ask, or not intelligibly.
// Source: https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
func Of(header http.Header, now time.Time) time.Duration {
	text := header.Get("Retry-After")
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		return min(time.Duration(n)*time.Second, most)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), most)
	}
	return 0
}
