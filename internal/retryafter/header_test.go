package retryafter_test

import (
	"net/http"
	"testing"
	"time"

	"azwi/internal/retryafter"
)

func TestOf(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "86401": 24 * time.Hour, "4294967295": 24 * time.Hour,
		"99999999999999999999": 0, "-1": 0, "+7": 0, "1.5": 0, "7 s": 0, "soon": 0, "0x7": 0,
		"Thu, 01 Jan 2026 00:01:00 GMT":    time.Minute,
		"Thursday, 01-Jan-26 00:01:00 GMT": time.Minute,
		"Thu Jan  1 00:01:00 2026":         time.Minute,
		"Wed, 31 Dec 2025 23:59:00 GMT":    0,
		"Fri, 01 Jan 2038 00:00:00 GMT":    24 * time.Hour,
		"Thu, 01 Jan 2026 00:01:00 CEST":   0,
	} {
		if got := retryafter.Of(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	if got := retryafter.Of(nil, now); got != 0 {
		t.Errorf("no header: %s", got)
	}
}
