package webhook

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"azwi/internal/finding"
)

// mostNamespaces bounds the label namespace: every value costs some forty series.
const mostNamespaces = 1000

// Metrics are the webhook's own. Make them with NewMetrics.
type Metrics struct {
	registry *prometheus.Registry

	duration    *prometheus.HistogramVec
	admissions  *prometheus.CounterVec
	warnings    *prometheus.CounterVec
	reads       *prometheus.HistogramVec
	certificate prometheus.Gauge
	writes      *prometheus.CounterVec

	mu         sync.Mutex
	namespaces map[string]bool
}

// NewMetrics returns metrics in a registry of their own.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "azwi_mutation_request",
			Help:    "Seconds an admission took, by namespace (the first thousand, then other).",
			Buckets: upstreamBuckets(),
		}, []string{"namespace"}),
		admissions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "azwi_admissions_total",
			Help: "Admissions by outcome (injected, unchanged, denied, failed, busy, malformed) and reason.",
		}, []string{"outcome", "reason"}),
		warnings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "azwi_admission_warnings_total",
			Help: "Warnings given to creators of pods, by reason.",
		}, []string{"reason"}),
		reads: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "azwi_service_account_read_seconds",
			Help:    "Seconds a read of a service account took, by the API server's status code (0: no answer).",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2},
		}, []string{"code"}),
		certificate: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "azwi_certificate_expiry_timestamp_seconds",
			Help: "When the serving certificate expires, in seconds since 1970.",
		}),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "azwi_certificate_writes_total",
			Help: "Writes of the Secret and the webhook configuration that hold the webhook's own certificate, by object.",
		}, []string{"object"}),
		namespaces: map[string]bool{},
	}
	m.registry.MustRegister(m.duration, m.admissions, m.warnings, m.reads, m.certificate, m.writes,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// upstreamBuckets are those of upstream's histogram, so that its dashboards and
// alerts go on working. In seconds.
func upstreamBuckets() []float64 {
	return []float64{
		0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.007, 0.008, 0.009,
		0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09,
		0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.5, 2, 2.5, 3,
	}
}

// Handler serves the metrics in the Prometheus text format.
func (m *Metrics) Handler() http.Handler {
	// An answer takes some megabytes where there are a thousand namespaces.
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 2})
}

// ObserveRead takes note of a request for a service account.
func (m *Metrics) ObserveRead(status int, took time.Duration) {
	m.reads.WithLabelValues(strconv.Itoa(status)).Observe(took.Seconds())
}

func (m *Metrics) observe(namespace string, took time.Duration) {
	m.duration.WithLabelValues(m.namespaceLabel(namespace)).Observe(took.Seconds())
}

func (m *Metrics) namespaceLabel(namespace string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.namespaces[namespace] {
		return namespace
	}
	if len(m.namespaces) >= mostNamespaces {
		return "other"
	}
	m.namespaces[namespace] = true
	return namespace
}

// ObserveCertificate takes note of when the serving certificate expires.
func (m *Metrics) ObserveCertificate(notAfter time.Time) { m.certificate.Set(float64(notAfter.Unix())) }

// ObserveWrite takes note of a write of the object that holds the webhook's own
// certificate: secret or configuration.
func (m *Metrics) ObserveWrite(object string) { m.writes.WithLabelValues(object).Inc() }

func (m *Metrics) count(o outcome)          { m.admissions.WithLabelValues(o.kind, o.reason).Inc() }
func (m *Metrics) warn(reason finding.Code) { m.warnings.WithLabelValues(string(reason)).Inc() }
