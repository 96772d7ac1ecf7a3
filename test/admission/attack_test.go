package admission_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"azwi/contract"
	"azwi/test/cluster"
	"azwi/test/handlers"
	"azwi/test/process"
	"azwi/test/product"
)

// TestAttacks runs the webhook with the chart's memory limit under all that has been
// found to kill it, one after the other. It lives on, and admits an ordinary pod
// within 2 s throughout, without client certificates.
func TestAttacks(t *testing.T) {
	t.Parallel()
	process.NeedMemoryLimit(t)
	c := control.Start(t)
	namespace := newNamespace(t, c)
	w := startWebhook(t, product.WebhookConfig{Cluster: c, User: namespace, Binary: released.get(t), Memory: 64 << 20})
	handlers.Register(t, c, product.Registration{Addr: w.Addr, Namespaces: []string{namespace}})
	for name, clientID := range map[string]string{"orders": guid(1), "long": strings.Repeat("x", 200<<10)} {
		if err := createAccount(t.Context(), c, namespace, name, clientID); err != nil {
			t.Fatal(err)
		}
	}
	a := &attacker{addr: w.Addr, tls: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}, namespace: namespace} //nolint:gosec // an attacker does not care
	for _, attack := range []struct {
		name string
		do   func(ctx context.Context) error
	}{
		{"20,000 empty containers", func(ctx context.Context) error { return a.post(ctx, a.empty(20_000, "true")) }},
		{"a million empty containers", func(ctx context.Context) error { return a.post(ctx, a.empty(1_390_000, "true")) }},
		{"a million empty containers, not opted in", func(ctx context.Context) error { return a.post(ctx, a.empty(1_390_000, "false")) }},
		{"forty pods of a MiB", func(ctx context.Context) error {
			return a.times(ctx, 40, func(ctx context.Context) error { return a.post(ctx, a.large(1<<20)) })
		}},
		{"two hundred pods at the limits", func(ctx context.Context) error {
			return a.times(ctx, 200, func(ctx context.Context) error { return a.post(ctx, a.limits()) })
		}},
		{"many containers through the API server", func(ctx context.Context) error { return a.bigPod(ctx, c, 14_000, "orders") }},
		{"a long client ID in many containers", func(ctx context.Context) error { return a.bigPod(ctx, c, 150, "long") }},
		{"idle connections", func(ctx context.Context) error { return a.hold(ctx, 1_650, "") }},
		{"half of a header", func(ctx context.Context) error { return a.hold(ctx, 400, "POST /mutate-v1-pod HTTP/1.1\r\nHost: ") }},
		{"slow bodies", func(ctx context.Context) error { return a.hold(ctx, 400, a.beginning(40<<10)) }},
		{"slow large bodies", func(ctx context.Context) error { return a.hold(ctx, 60, a.beginning(1<<20)) }},
		{"connections that have delivered", func(ctx context.Context) error {
			body := a.empty(1, "false")
			return a.hold(ctx, 300, fmt.Sprintf("POST /mutate-v1-pod HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
		}},
		{"idle connections to health and metrics", func(ctx context.Context) error {
			for _, addr := range []string{w.HealthAddr, w.MetricsAddr} {
				plain := &attacker{addr: addr}
				if err := plain.hold(ctx, 500, "GET / HTTP/1.1\r\n"); err != nil {
					return err
				}
			}
			return nil
		}},
	} {
		start := time.Now()
		slowest, err := a.probed(t.Context(), c, attack.do)
		use, memoryErr := w.Memory()
		t.Logf("%s: %s, slowest pod %s, %d MiB at most", attack.name, time.Since(start).Round(time.Millisecond), slowest.Round(time.Millisecond), use.Peak>>20)
		if err := errors.Join(err, memoryErr); err != nil {
			t.Errorf("%s: %v", attack.name, err)
		}
		select {
		case <-w.Done():
			t.Fatalf("%s: the webhook has ended: %v", attack.name, w.Wait())
		default:
		}
		if use.Kills > 0 {
			t.Fatalf("%s: the kernel has killed for memory", attack.name)
		}
	}
}

type attacker struct {
	addr      string
	tls       *tls.Config // nil: plain connections
	namespace string
}

// probed runs an attack while ordinary pods are created, one at a time and each
// within 2 s, and returns how long the slowest took.
func (a *attacker) probed(ctx context.Context, c *cluster.Cluster, attack func(context.Context) error) (slowest time.Duration, err error) {
	g, ctx := errgroup.WithContext(ctx)
	ended := make(chan struct{})
	g.Go(func() error {
		defer close(ended)
		return attack(ctx)
	})
	g.Go(func() error {
		for after := false; ; {
			start := time.Now()
			one, cancel := context.WithTimeout(ctx, 2*time.Second)
			pod, err := createPod(one, c, a.namespace, podOf("ordinary", "orders"))
			cancel()
			if err != nil {
				return fmt.Errorf("an ordinary pod, after %s: %w", time.Since(start), err)
			}
			if pod.Spec.Containers[0].env(contract.EnvClientID) != guid(1) {
				return errors.New("an ordinary pod has no identity")
			}
			slowest = max(slowest, time.Since(start))
			if after {
				return nil
			}
			select {
			case <-ended:
				after = true // once more
			default:
			}
		}
	})
	return slowest, g.Wait()
}

func (*attacker) times(ctx context.Context, n int, do func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for range n {
		g.Go(func() error { return do(ctx) })
	}
	return g.Wait()
}

// post sends a review on a connection of its own. Any answer will do, and so will
// none: only the webhook's end is a success of the attack.
func (a *attacker) post(ctx context.Context, body []byte) error {
	client := http.Client{Transport: &http.Transport{TLSClientConfig: a.tls, DisableKeepAlives: true}, Timeout: 20 * time.Second}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+a.addr+contract.WebhookPath, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return ctx.Err()
	}
	defer resp.Body.Close()
	if n, _ := io.Copy(io.Discard, resp.Body); n > 2<<20 {
		return fmt.Errorf("an answer of %d bytes", n)
	}
	return nil
}

// hold opens n connections, twenty at a time, sends the same on each, waits a second
// and closes them.
func (a *attacker) hold(ctx context.Context, n int, send string) error {
	open := make(chan net.Conn, n)
	defer func() {
		close(open)
		for conn := range open {
			_ = conn.Close()
		}
	}()
	g := errgroup.Group{}
	g.SetLimit(20)
	for range n {
		g.Go(func() error {
			one, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			var dialer interface {
				DialContext(ctx context.Context, network, addr string) (net.Conn, error)
			} = &net.Dialer{}
			if a.tls != nil {
				dialer = &tls.Dialer{Config: a.tls}
			}
			conn, err := dialer.DialContext(one, "tcp", a.addr)
			if err != nil {
				return ctx.Err() // closed by the webhook: well done
			}
			_ = conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
			_, _ = io.WriteString(conn, send)
			open <- conn
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
	}
	return ctx.Err()
}

func (a *attacker) review(object string) []byte {
	return fmt.Appendf(nil, `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","resource":{"group":"","version":"v1","resource":"pods"},"namespace":%q,"operation":"CREATE","object":%s}}`,
		a.namespace, object)
}

func pod(use, containers string) string {
	return `{"metadata":{"labels":{"azure.workload.identity/use":"` + use + `"}},"spec":{"serviceAccountName":"orders","containers":[` + containers + `]}}`
}

func (a *attacker) empty(n int, use string) []byte {
	return a.review(pod(use, strings.Repeat("{},", n-1)+"{}"))
}

func (a *attacker) large(bytes int) []byte {
	return a.review(pod("true", `{"name":"a","env":[{"name":"X","value":"`+strings.Repeat("x", bytes)+`"}]}`))
}

// limits is as costly as a pod of its size can be.
func (a *attacker) limits() []byte {
	return a.review(pod("true", strings.Repeat("{},", 199)+`{"env":[`+strings.Repeat("{},", 5000)+`{}],"volumeMounts":[`+strings.Repeat("{},", 5000)+`{}]}`))
}

// beginning is a request's header, and n bytes of a body that never ends.
func (a *attacker) beginning(n int) string {
	body := a.large(3 << 20)
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", contract.WebhookPath, len(body), body[:n])
}

// bigPod is created through the API server, which has to refuse it.
func (a *attacker) bigPod(ctx context.Context, c *cluster.Cluster, containers int, account string) error {
	var p object
	if err := json.Unmarshal([]byte(strings.Replace(pod("true", strings.Repeat("{},", containers-1)+"{}"), "orders", account, 1)), &p); err != nil {
		return err
	}
	if _, err := createPod(ctx, c, a.namespace, p); err == nil || !strings.Contains(err.Error(), "smaller") {
		return fmt.Errorf("the API server's answer: %w", err)
	}
	return nil
}
