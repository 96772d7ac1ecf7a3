package entra_test

import (
	"compress/gzip"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"azwi/internal/token/entra"
)

// TestHostileAuthority: an authority, or what answers in its place, gets the assertion
// no further than to itself, and takes neither memory nor time without bound.
func TestHostileAuthority(t *testing.T) {
	t.Parallel()
	elsewhere := quietTLSServer(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a request was sent elsewhere")
	}))
	redirect := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL+r.URL.Path, status) }
	}
	// What is large has 64 MiB, unless the client leaves before.
	whole := make(chan bool, 1)
	large := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			var err error
			for i := 0; i < 64 && err == nil; i++ {
				_, err = w.Write(make([]byte, 1<<20))
			}
			whole <- err == nil
		}
	}
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		right  func(error) bool
	}{
		"redirect 302":  {redirect(http.StatusFound), answered(http.StatusFound)},
		"redirect 307":  {redirect(http.StatusTemporaryRedirect), answered(http.StatusTemporaryRedirect)},
		"redirect 308":  {redirect(http.StatusPermanentRedirect), answered(http.StatusPermanentRedirect)},
		"large token":   {large(http.StatusOK), says("larger than 1048576 bytes")},
		"large refusal": {large(http.StatusForbidden), answered(http.StatusForbidden)},
		"large failure": {large(http.StatusBadGateway), answered(http.StatusBadGateway)},
		"large header":  {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) }, says("server response headers exceeded")},
		"cut off":       {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, says("EOF")},
		"gzip bomb":     {bomb, says("larger than 1048576 bytes")},
		"dripping":      {drip, isTimeout},
		"silent":        {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, isTimeout},
		"token of 2 MiB": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"expires_in":1,"access_token":"` + strings.Repeat("x", 2<<20) + `"}`))
		}, says("larger than")},
	} {
		t.Run(name, func(t *testing.T) {
			server := quietTLSServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // else the server does not see the client leave
				test.answer(w, r)
			}))
			config := entra.ExchangerConfig{AuthorityHost: server.URL, ExtraCAFile: write(t, "ca", caOf(server))}
			if name == "dripping" || name == "silent" {
				config.Timeout = time.Second // the others must not depend on the machine's speed
			}
			if _, err := exchanger(t, config).Exchange(t.Context(), request("assertion")); err == nil || !test.right(err) {
				t.Errorf("%v", err)
			}
			if strings.HasPrefix(name, "large ") && name != "large header" && <-whole {
				t.Error("the whole answer was read")
			}
		})
	}
}

func caOf(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

func answered(status int) func(error) bool {
	return func(err error) bool {
		refusal, ok := errors.AsType[*entra.Error](err)
		return ok && refusal.Status == status
	}
}

func says(text string) func(error) bool {
	return func(err error) bool { return strings.Contains(err.Error(), text) }
}

func isTimeout(err error) bool { return errors.Is(err, context.DeadlineExceeded) }

// bomb answers with 8 MiB in 8 KiB.
func bomb(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Encoding", "gzip")
	to := gzip.NewWriter(w)
	for range 8 {
		if _, err := to.Write(make([]byte, 1<<20)); err != nil {
			return
		}
	}
	to.Close()
}

// drip answers a byte at a time until the client leaves.
func drip(w http.ResponseWriter, r *http.Request) {
	for {
		select {
		case <-r.Context().Done():
			return
		case <-time.After(50 * time.Millisecond):
			_, _ = w.Write([]byte(" "))
			http.NewResponseController(w).Flush()
		}
	}
}
