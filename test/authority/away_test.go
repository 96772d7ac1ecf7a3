package authority_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"azwi/contract"
	"azwi/test/cluster"
	"azwi/test/process"
	"azwi/test/product"
)

// TestAPIServerAway starts the webhook while there is no API server: it is alive and
// not ready, and becomes ready when there is one. When the API server goes away again
// it stays ready and serves; when that is back, so are pods.
func TestAPIServerAway(t *testing.T) {
	t.Parallel()
	config := cluster.Config{Dir: t.TempDir()}
	up := func() *cluster.Cluster {
		t.Helper()
		c, err := cluster.Start(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := up()
	down := func() {
		t.Helper()
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(down) // after what newSite and register clean up
	config.APIPort, config.EtcdPort = portOf(t, c.URL), portOf(t, c.EtcdURL)
	s := newSite(t, c)
	dir := t.TempDir()
	prepare(t, s, dir)
	down()

	child, lines := startAway(t, s, filepath.Join(dir, s.namespace+".kubeconfig"))
	var w product.Webhook
	eventually(t, "the webhook does not listen", func() error {
		found := lines.find("listening")
		if found == nil {
			return errors.New("not yet")
		}
		w = product.Webhook{Child: child, Addr: found.Addr, HealthAddr: found.Health}
		return nil
	})
	eventually(t, "the reason is not told", func() error {
		if err := ready(&w); err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), "contact the API server") {
			return fmt.Errorf("readyz: %w", err)
		}
		return nil
	})
	if err := probe("http://" + w.HealthAddr + "/healthz"); err != nil {
		t.Errorf("not alive without the API server: %v", err)
	}
	eventually(t, "no second try", func() error {
		if n := lines.count("trying again"); n < 4 {
			return fmt.Errorf("%d tries", n)
		}
		return nil
	})

	c = up()
	s.Cluster = c
	eventually(t, "not ready with an API server", func() error { return ready(&w) })
	s.register(t, port(w.Addr))
	eventually(t, "create a pod", func() error { return s.createPod(t.Context()) })
	bundle := s.secret(t).Data["ca.crt"]

	down()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS13}}
	conn, err := dialer.DialContext(t.Context(), "tcp", w.Addr)
	if err != nil {
		t.Errorf("not served while the API server is away: %v", err)
	} else if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if err := ready(&w); err != nil {
		t.Errorf("while the API server is away: %v", err)
	}

	c = up()
	s.Cluster = c
	eventually(t, "create a pod after the restart", func() error { return s.createPod(t.Context()) })
	if got := s.secret(t).Data["ca.crt"]; !bytes.Equal(got, bundle) {
		t.Error("another authority after the restart")
	}
	if err := child.Stop(20 * time.Second); err != nil {
		t.Errorf("azwi-webhook ended badly: %v", err)
	}
}

// prepare grants what the webhook needs and writes its kubeconfig into dir.
func prepare(t *testing.T, s *site, dir string) {
	t.Helper()
	file := webhook.get(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	own := s.own()
	w, err := product.StartWebhook(ctx, product.WebhookConfig{Cluster: s.Cluster, Binary: file, Dir: dir, User: s.namespace, Own: &own})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Stop(20 * time.Second); err != nil {
		t.Error(err)
	}
}

func startAway(t *testing.T, s *site, kubeconfig string) (*process.Child, *logLines) {
	t.Helper()
	lines := &logLines{to: t.Output()}
	child, err := process.Start(process.Config{
		Binary: webhook.get(t),
		Args: []string{
			"--kubeconfig=" + kubeconfig, "--addr=127.0.0.1:0", "--health-addr=127.0.0.1:0", "--metrics-addr=127.0.0.1:0", "--drain-delay=0s",
			"--cert-webhook-configuration=" + s.namespace, "--cert-names=" + host,
		},
		Env:    []string{contract.EnvTenantID + "=" + product.TenantID, contract.EnvPodNamespace + "=" + s.namespace, "GORACE=halt_on_error=1 exitcode=66"},
		Stderr: lines,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Stop(time.Second) }) // if the test has not
	return child, lines
}

// logLines is a log in JSON.
type logLines struct {
	to   io.Writer
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	return l.to.Write(p)
}

type logLine struct{ Msg, Addr, Health string }

func (l *logLines) find(msg string) *logLine {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(l.text.Bytes()) {
		var found logLine
		if json.Unmarshal(line, &found) == nil && found.Msg == msg {
			return &found
		}
	}
	return nil
}

func (l *logLines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

func portOf(t *testing.T, address string) int {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	_, text, err := net.SplitHostPort(u.Host)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return number
}
