package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// fakeEntra is a token endpoint that counts. The emulator signs with RSA, which
// would be measured too.
type fakeEntra struct {
	*httptest.Server
	caFile, tokenFile string

	mu                    sync.Mutex
	delay                 time.Duration
	total, inFlight, most int
}

func newFakeEntra(dir string) (*fakeEntra, error) {
	e := &fakeEntra{caFile: filepath.Join(dir, "ca.crt"), tokenFile: filepath.Join(dir, "token")}
	e.Server = httptest.NewTLSServer(e)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: e.Certificate().Raw})
	if err := os.WriteFile(e.caFile, ca, 0o600); err != nil {
		return nil, err
	}
	return e, os.WriteFile(e.tokenFile, []byte("e30.e30."+strings.Repeat("x", 1000)), 0o600)
}

func (e *fakeEntra) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	e.total++
	n := e.total
	e.inFlight++
	e.most = max(e.most, e.inFlight)
	delay := e.delay
	e.mu.Unlock()
	<-time.After(delay)
	e.mu.Lock()
	e.inFlight--
	e.mu.Unlock()
	_ = json.NewEncoder(w).Encode(map[string]any{
		"token_type": "Bearer", "expires_in": 86399, "refresh_in": 43199, "access_token": fmt.Sprintf("%d.%s", n, strings.Repeat("t", 1500)),
	})
}

func (e *fakeEntra) reset(delay time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.delay, e.total, e.most = delay, 0, 0
}

func (e *fakeEntra) counts() (total, most int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.total, e.most
}

// A server is a process on the first core.
type server struct {
	cmd   *exec.Cmd
	addr  string
	ready time.Duration
}

const path = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net"

// start starts the proxy on a port that was free a moment ago, and waits until it
// is ready.
func (b *bench) start(ctx context.Context) (*server, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{addr: l.Addr().String()}
	_ = l.Close()
	_, port, _ := net.SplitHostPort(s.addr)
	s.cmd = onCore(0, b.binary, "--proxy-port="+port, "--log-level=warn", "--ca-file="+b.entra.caFile)
	s.cmd.Env = []string{
		"AZURE_CLIENT_ID=client", "AZURE_TENANT_ID=tenant", "AZURE_AUTHORITY_HOST=" + b.entra.URL, "AZURE_FEDERATED_TOKEN_FILE=" + b.entra.tokenFile,
	}
	s.cmd.Stderr = os.Stderr
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for time.Since(began) < 10*time.Second {
		resp, err := client.Get("http://" + s.addr + "/readyz") //nolint:noctx // it is over in ten seconds
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				s.ready = time.Since(began)
				return s, nil
			}
		}
		<-time.After(200 * time.Microsecond)
	}
	return nil, fmt.Errorf("the proxy was not ready in 10 s")
}

func onCore(core int, program string, args ...string) *exec.Cmd {
	cmd := exec.Command("taskset", append([]string{"-c", strconv.Itoa(core), program}, args...)...) //nolint:noctx // stop ends it
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (b *bench) startBare(body []byte) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &server{cmd: onCore(0, self, bareRole)}
	in, err := s.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := in.Write(body); err != nil {
		return nil, err
	}
	if err := in.Close(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	s.addr = strings.TrimSpace(line)
	return s, err
}

// serveBare writes the same bytes and headers whatever is asked.
func serveBare(ctx context.Context, stdout io.Writer, stdin io.Reader) error {
	body, err := io.ReadAll(stdin)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, l.Addr())
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "application/json; charset=utf-8")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
	})}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return s.cmd.Wait()
}

// resident is VmRSS in MiB.
func (s *server) resident() (float64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("no VmRSS in:\n%s", raw)
}

func (s *server) body(ctx context.Context, client string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+path+"&client_id="+client, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Metadata", "true")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode == http.StatusTooManyRequests {
		after, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return body, &busyError{time.Duration(after) * time.Second}
	}
	if err == nil && (resp.StatusCode != http.StatusOK || !bytes.Contains(body, []byte("access_token"))) {
		err = fmt.Errorf("answer %d: %s", resp.StatusCode, body)
	}
	return body, err
}

func (s *server) ask(ctx context.Context, client string) error {
	_, err := s.body(ctx, client)
	return err
}

// busyError is 429 with Retry-After.
type busyError struct{ after time.Duration }

func (e *busyError) Error() string {
	return fmt.Sprintf("too many requests, try again after %s", e.after)
}

// askAtOnce has clients ask at the same time. Like Azure's SDKs, they ask again when they
// are told to: busy says how often.
func (s *server) askAtOnce(ctx context.Context, clients int) (failed, busy int) {
	const most = 5
	var wait sync.WaitGroup
	var told atomic.Int64
	results := make(chan error, clients)
	for range clients {
		wait.Go(func() {
			err := s.ask(ctx, "first")
			for range most {
				again, ok := errors.AsType[*busyError](err)
				if !ok {
					break
				}
				told.Add(1)
				<-time.After(again.after)
				err = s.ask(ctx, "first")
			}
			results <- err
		})
	}
	wait.Wait()
	close(results)
	for err := range results {
		if err != nil {
			failed++
		}
	}
	return failed, int(told.Load())
}
