package proxy_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"azwi/internal/token"
	"azwi/internal/token/entra"
	"azwi/internal/token/imds"
	"azwi/internal/token/proxy"
)

// A discard is an answer that goes nowhere: what remains is the handler's own.
type discard struct{ header http.Header }

func (d discard) Header() http.Header              { return d.header }
func (d discard) WriteHeader(int)                  {}
func (d discard) Write(p []byte) (int, error)      { return len(p), nil }
func (d discard) SetWriteDeadline(time.Time) error { return nil }

// BenchmarkCachedToken is what almost every request is: a token that is there.
func BenchmarkCachedToken(b *testing.B) {
	source, err := token.New(b.Context(), token.Config{Exchange: func(context.Context, token.Key) (entra.Token, error) {
		return entra.Token{Type: "Bearer", Value: strings.Repeat("t", 1500), Lifetime: 24 * time.Hour}, nil
	}})
	if err != nil {
		b.Fatal(err)
	}
	h := &proxy.Handler{
		Tokens: source, Identities: proxy.Identities{Default: proxy.Identity{ClientID: "c", TenantID: "t"}},
		Parser: imds.Parser{Secret: secret}, Metrics: new(proxy.Metrics), Logger: slog.New(slog.DiscardHandler),
	}
	r := httptest.NewRequest(http.MethodGet, "http://169.254.169.254"+imdsPath+"resource=https%3A%2F%2Fvault.azure.net&client_id=first", http.NoBody)
	r.Header.Set("Metadata", "true")
	w := discard{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		h.ServeHTTP(w, r)
	}
}
