package proxy_test

import (
	"bufio"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"azwi/emulator"
	"azwi/emulator/emulatortest"
	"azwi/test/process"
)

// sidecarLimit is the memory limit that injection gives the sidecar.
const sidecarLimit = 64 << 20

// A sidecar is the program without a pod around it.
type sidecar struct {
	*process.Child

	addr  string // host:port
	log   *syncBuffer
	lines <-chan string // of the log
}

type sidecarConfig struct {
	memory        int64 // limit in bytes; 0 is none
	authority, ca string
	tokenFile     string // default: one that holds a JWT of no use
}

// newSidecar starts one and waits until it serves.
func newSidecar(t *testing.T, c sidecarConfig, args ...string) *sidecar {
	t.Helper()
	if c.tokenFile == "" {
		c.tokenFile = filepath.Join(t.TempDir(), "token")
		check(t, os.WriteFile(c.tokenFile, []byte("e30.e30.AA"), 0o600))
	}
	logged, stderr, err := os.Pipe()
	check(t, err)
	lines := make(chan string, 1000)
	s := &sidecar{log: &syncBuffer{}, lines: lines}
	s.Child, err = process.Start(process.Config{
		Binary: proxyBinary(t), Args: append([]string{"--proxy-port=0", "--ca-file=" + c.ca}, args...), Memory: c.memory, Stderr: stderr,
		Env: []string{
			"AZURE_CLIENT_ID=" + clientID, "AZURE_TENANT_ID=" + emulator.DefaultTenantID, "AZURE_FEDERATED_TOKEN_FILE=" + c.tokenFile,
			"AZURE_AUTHORITY_HOST=" + c.authority,
		},
	})
	check(t, stderr.Close())
	check(t, err)
	t.Cleanup(func() {
		if err := s.Stop(10 * time.Second); err != nil {
			t.Errorf("the sidecar ended with %v\n%s", err, s.log)
		}
	})
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(logged); scanner.Scan(); {
			fmt.Fprintln(s.log, scanner.Text())
			select {
			case lines <- scanner.Text():
			default: // nobody waits for one
			}
		}
	}()
	var serving struct{ Addr string }
	check(t, json.Unmarshal([]byte(s.await(t, `"serving"`)), &serving))
	s.addr = serving.Addr
	return s
}

// await waits for a line of the log.
func (s *sidecar) await(t *testing.T, text string) string {
	t.Helper()
	for line := range s.lines {
		if strings.Contains(line, text) {
			return line
		}
	}
	t.Fatalf("it ended without %q:\n%s", text, s.log)
	return ""
}

// newAttacked starts one with the sidecar's limit, and an Entra for it.
func newAttacked(t *testing.T) (*sidecar, *emulatortest.Server) {
	t.Helper()
	dir := t.TempDir()
	issuer := emulatortest.NewIssuer(t)
	cloud := emulatortest.Start(t, emulator.Config{Seed: podSeed(issuer)})
	c := sidecarConfig{memory: sidecarLimit, authority: cloud.AuthorityURL, ca: filepath.Join(dir, "ca.crt"), tokenFile: filepath.Join(dir, "token")}
	check(t, os.WriteFile(c.tokenFile, []byte(issuer.Token(t, "default", "web", nil)), 0o600))
	check(t, os.WriteFile(c.ca, cloud.CA(), 0o600))
	return newSidecar(t, c, "--imds-url=http://127.0.0.1:1"), cloud
}

// ask asks for a token on a connection of its own and returns the status.
func (s *sidecar) ask(ctx context.Context, query url.Values) (int, http.Header, error) {
	query.Set("api-version", "2018-02-01")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+"/metadata/identity/oauth2/token?"+query.Encode(), http.NoBody)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Metadata", "true")
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Header, err
}

// good asks for the token that is in the cache.
func (s *sidecar) good(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if status, _, err := s.ask(ctx, url.Values{"resource": {resource}}); status != 200 {
		t.Fatalf("the token in the cache: %d, %v", status, err)
	}
}

// TestAttacks: whatever a container of the pod does, the sidecar stays within its
// memory and serves the tokens that it has.
func TestAttacks(t *testing.T) {
	process.NeedMemoryLimit(t)
	t.Parallel()
	// open makes connections, writes to each and leaves them open until the end.
	open := func(t *testing.T, s *sidecar, n int, text string) {
		t.Helper()
		for i := range n {
			c, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Fatalf("connection %d: %v", i, err)
			}
			t.Cleanup(func() { _ = c.Close() })
			_ = c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)) // as much as it takes
			_, _ = io.WriteString(c, text)                                 // it may be closed already
			if i%(n/20) == 0 {
				s.good(t)
			}
		}
	}
	// flood asks for other tokens with all its might, and counts the statuses.
	flood := func(t *testing.T, s *sidecar, n, workers int, query func(i int) url.Values) *[600]atomic.Int64 {
		t.Helper()
		var next atomic.Int64
		var statuses [600]atomic.Int64
		var done sync.WaitGroup
		for range workers {
			done.Go(func() {
				for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
					status, header, err := s.ask(t.Context(), query(i))
					if status == 429 && header.Get("Retry-After") == "" {
						t.Error("429 without Retry-After")
					}
					if err == nil {
						statuses[status].Add(1)
					}
				}
			})
		}
		for range 20 {
			s.good(t)
		}
		done.Wait()
		s.good(t)
		return &statuses
	}
	large := strings.Repeat("a", 12<<10)
	for _, tt := range []struct {
		name   string
		attack func(t *testing.T, s *sidecar, cloud *emulatortest.Server)
	}{
		{"idle connections", func(t *testing.T, s *sidecar, _ *emulatortest.Server) { open(t, s, 8000, "") }},
		{"slow headers", func(t *testing.T, s *sidecar, _ *emulatortest.Server) {
			open(t, s, 2000, "GET /metadata/instance HTTP/1.1\r\nHost: localhost\r\nX-Large: "+large)
		}},
		{"slow bodies", func(t *testing.T, s *sidecar, _ *emulatortest.Server) {
			open(t, s, 2000, "POST /metadata/scheduledevents HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65536\r\n\r\n"+large+large+large)
		}},
		{"bodies of GET", func(t *testing.T, s *sidecar, _ *emulatortest.Server) {
			open(t, s, 2000, "GET /metadata/identity/oauth2/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65536\r\n\r\n"+large)
		}},
		{"answers that nobody reads", func(t *testing.T, s *sidecar, _ *emulatortest.Server) {
			open(t, s, 1000, strings.Repeat("GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource="+resource+" HTTP/1.1\r\nHost: localhost\r\nMetadata: true\r\n\r\n", 20))
		}},
		{"distinct keys", func(t *testing.T, s *sidecar, cloud *emulatortest.Server) {
			start, before := time.Now(), exchanges(t, cloud)
			statuses := flood(t, s, 5000, 20, func(i int) url.Values {
				return url.Values{"resource": {fmt.Sprintf("api://typo-%d", i)}, "claims": {fmt.Sprintf("%q", large[:7<<10])}}
			})
			if n := statuses[429].Load(); n < 4000 {
				t.Errorf("%d were told to come later", n)
			}
			most := 100 + int(time.Since(start)/(100*time.Millisecond)) + 1
			if n := exchanges(t, cloud) - before; n > most {
				t.Errorf("%d exchanges, want at most %d", n, most)
			}
		}},
		{"waiters", func(t *testing.T, s *sidecar, cloud *emulatortest.Server) {
			check(t, cloud.SetFaults([]byte(`{"faults":[{"service":"authority","delay":"2s"}]}`)))
			statuses := flood(t, s, 400, 400, func(i int) url.Values { return url.Values{"resource": {fmt.Sprintf("api://slow-%d", i%5)}} })
			if n := statuses[429].Load(); n == 0 || n > 200 {
				t.Errorf("%d were told to come later", n)
			}
			check(t, cloud.SetFaults([]byte(`{}`)))
		}},
		{"failures push no token out", func(t *testing.T, s *sidecar, cloud *emulatortest.Server) {
			check(t, cloud.SetFaults([]byte(noEntra)))
			flood(t, s, 1500, 20, func(i int) url.Values { return url.Values{"resource": {fmt.Sprintf("api://down-%d", i)}} })
			check(t, cloud.SetFaults([]byte(`{}`)))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, cloud := newAttacked(t)
			start := time.Now()
			s.good(t)
			tt.attack(t, s, cloud)
			s.good(t)
			use, err := s.Memory()
			check(t, err)
			if use.Kills > 0 {
				t.Errorf("killed: %+v", use)
			}
			t.Logf("%d MiB at most", use.Peak>>20)
			// Two messages, of each 200 records at once and five a second (package loglevel).
			if n, most := len(s.log.String()), 2<<10*(200+5*int(time.Since(start)/time.Second+1)); n > most {
				t.Errorf("%d bytes of log, want at most %d", n, most)
			}
		})
	}
}

// exchanges counts what Entra was asked.
func exchanges(t *testing.T, cloud *emulatortest.Server) int {
	t.Helper()
	var journal struct{ Requests []any }
	cloud.Admin(t, http.MethodGet, "/requests", nil, &journal)
	return len(journal.Requests)
}

// TestTermination: SIGTERM cancels nobody who waits for a slow Entra, and during the
// delay everything is served as before.
func TestTermination(t *testing.T) {
	t.Parallel()
	for name, delay := range map[string]string{"no delay": "0s", "delay": "5s"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked, release := make(chan struct{}), make(chan struct{})
			entra := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				asked <- struct{}{}
				<-release
				fmt.Fprint(w, `{"token_type":"Bearer","expires_in":3600,"access_token":"late"}`)
			}))
			t.Cleanup(entra.Close)
			ca := filepath.Join(t.TempDir(), "ca.crt")
			check(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: entra.Certificate().Raw}), 0o600))
			s := newSidecar(t, sidecarConfig{authority: entra.URL + "/", ca: ca}, "--drain-delay="+delay)

			statuses := make(chan string)
			ask := func(resource string) {
				status, _, err := s.ask(t.Context(), url.Values{"resource": {resource}})
				statuses <- fmt.Sprint(status, err)
			}
			go ask("api://before")
			<-asked
			check(t, s.Signal(syscall.SIGTERM))
			waiters := 1
			if delay != "0s" {
				s.await(t, "still serving")
				go ask("api://after")
				<-asked
				waiters++
			}
			close(release)
			for range waiters {
				if got := <-statuses; got != "200 <nil>" {
					t.Errorf("a waiter got %s\n%s", got, s.log)
				}
			}
			check(t, s.Wait())
		})
	}
}
