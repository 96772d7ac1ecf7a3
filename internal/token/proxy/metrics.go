package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"azwi/internal/token/entra"
)

// An outcome is how a request ended.
type outcome int

const (
	outcomeOK outcome = iota
	outcomeInvalid
	outcomePermanent
	outcomeReplication
	outcomeTransient
	outcomeGone
	outcomeForwarded
	outcomeBlocked
	outcomeBusy
	outcomes
)

func (o outcome) String() string {
	return [...]string{"ok", "invalid", "permanent", "replication", "transient", "gone", "forwarded", "blocked", "busy"}[o]
}

// Metrics count what the proxy does. The zero value is ready. They are written
// by hand in Prometheus' text format, since its library would take a third of the
// memory that the proxy needs.
type Metrics struct {
	// Soonest is how long the token that expires first is still good. Nil: unknown.
	Soonest func() (time.Duration, bool)

	requests [outcomes]atomic.Uint64
	stale    atomic.Uint64

	mu      sync.Mutex
	latency [8]uint64 // by bucket of bounds, the last one is the rest
	seconds float64
	codes   map[string]uint64
}

// bounds are the upper bounds of the latency's buckets, in seconds.
func bounds() [7]float64 { return [...]float64{0.05, 0.1, 0.25, 0.5, 1, 5, 30} }

// maxCodes bounds the label code; what comes later is "other".
const maxCodes = 50

func (m *Metrics) request(o outcome) { m.requests[o].Add(1) }
func (m *Metrics) staleServe()       { m.stale.Add(1) }

// Exchanged notes an exchange and its error.
func (m *Metrics) Exchanged(took time.Duration, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	limits := bounds()
	bucket, _ := slices.BinarySearch(limits[:], took.Seconds())
	m.latency[bucket]++
	m.seconds += took.Seconds()
	if err == nil {
		return
	}
	code := "network"
	if answer, ok := errors.AsType[*entra.Error](err); ok {
		code = "http_" + strconv.Itoa(answer.Status)
		if answer.Code != 0 {
			code = strconv.Itoa(answer.Code)
		}
	} else if errors.Is(err, entra.ErrAssertion) {
		code = "token_file"
	}
	if m.codes == nil {
		m.codes = map[string]uint64{}
	}
	if _, ok := m.codes[code]; !ok && len(m.codes) >= maxCodes {
		code = "other"
	}
	m.codes[code]++
}

// ServeHTTP serves /metrics.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/metrics" {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	var b strings.Builder
	m.write(&b)
	_, _ = io.WriteString(w, b.String()) // whoever has gone needs no answer
}

func (m *Metrics) write(b *strings.Builder) {
	head := func(name, kind, help string) {
		fmt.Fprintf(b, "# HELP azwi_proxy_%s %s\n# TYPE azwi_proxy_%s %s\n", name, help, name, kind)
	}
	head("requests_total", "counter", "Requests by how they ended.")
	for o := range outcomes {
		fmt.Fprintf(b, "azwi_proxy_requests_total{outcome=%q} %d\n", o, m.requests[o].Load())
	}
	head("stale_serves_total", "counter", "Tokens served after the last attempt to refresh them failed.")
	fmt.Fprintf(b, "azwi_proxy_stale_serves_total %d\n", m.stale.Load())

	m.mu.Lock()
	latency, seconds := m.latency, m.seconds
	type count struct {
		code string
		n    uint64
	}
	var codes []count
	for code, n := range m.codes {
		codes = append(codes, count{code, n})
	}
	m.mu.Unlock()

	head("exchange_duration_seconds", "histogram", "Duration of exchanges with Entra, failed ones too.")
	var sum uint64
	for i, bound := range bounds() {
		sum += latency[i]
		fmt.Fprintf(b, "azwi_proxy_exchange_duration_seconds_bucket{le=\"%g\"} %d\n", bound, sum)
	}
	sum += latency[len(latency)-1]
	fmt.Fprintf(b, "azwi_proxy_exchange_duration_seconds_bucket{le=\"+Inf\"} %d\n", sum)
	fmt.Fprintf(b, "azwi_proxy_exchange_duration_seconds_sum %g\nazwi_proxy_exchange_duration_seconds_count %d\n", seconds, sum)

	head("exchange_errors_total", "counter", "Failed exchanges by AADSTS code, or by what else failed.")
	slices.SortFunc(codes, func(a, b count) int { return cmp.Compare(a.code, b.code) })
	for _, c := range codes {
		fmt.Fprintf(b, "azwi_proxy_exchange_errors_total{code=%q} %d\n", c.code, c.n)
	}
	if m.Soonest == nil {
		return
	}
	if left, ok := m.Soonest(); ok {
		head("token_expiry_seconds", "gauge", "How long the token that expires first is still good.")
		fmt.Fprintf(b, "azwi_proxy_token_expiry_seconds %.0f\n", left.Seconds())
	}
}
