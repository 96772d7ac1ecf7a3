package admission_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"azwi/contract"
	"azwi/test/cluster"
	"azwi/test/handlers"
	"azwi/test/product"
)

// TestReinvocation has a second webhook rename the pod and add a container after
// ours has run: the new container is injected too, and nothing twice.
func TestReinvocation(t *testing.T) {
	t.Parallel()
	c := control.Start(t)
	namespace := newNamespace(t, c)
	ours := startWebhook(t, product.WebhookConfig{Cluster: c, User: namespace})
	handlers.Register(t, c, product.Registration{Name: "a-" + namespace, Addr: ours.Addr, Namespaces: []string{namespace}})
	other := handlers.ServeTLS(t, c, http.HandlerFunc(handlers.AddContainer))
	// Names are called in order, so this one sees our pod and we see its.
	handlers.Register(t, c, product.Registration{Name: "b-" + namespace, Addr: other, Namespaces: []string{namespace}})

	if err := createAccount(t.Context(), c, namespace, "orders", guid(1)); err != nil {
		t.Fatal(err)
	}
	pod := podOf("", "orders")
	pod["metadata"].(object)["generateName"] = "orders-"
	pod["metadata"].(object)["annotations"] = object{contract.InjectProxyAnnotation: "true"}
	created, err := createPod(t.Context(), c, namespace, pod)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, container := range append(created.Spec.InitContainers, created.Spec.Containers...) {
		names = append(names, container.Name)
		if container.Name == contract.ProxyInitContainer {
			continue
		}
		if got := container.env(contract.EnvClientID); got != guid(1) {
			t.Errorf("container %s has identity %q", container.Name, got)
		}
		if n := len(container.mounts(contract.MountPath)); n != 1 {
			t.Errorf("container %s has %d mounts of the token", container.Name, n)
		}
	}
	if got := strings.Join(names, " "); got != "added-init azwi-proxy-init azwi-proxy app added" {
		t.Errorf("containers are %s", got)
	}
	volumes := 0
	for _, v := range created.Spec.Volumes {
		if strings.HasPrefix(v.Name, contract.VolumePrefix) {
			volumes++
		}
	}
	if volumes != 2 { // token and empty
		t.Errorf("%d reserved volumes: %+v", volumes, created.Spec.Volumes)
	}
}

// TestCertificateReload replaces the mounted certificate, by one of another CA,
// while pods are created.
func TestCertificateReload(t *testing.T) {
	t.Parallel()
	c := control.Start(t)
	namespace := newNamespace(t, c)
	config := product.WebhookConfig{Cluster: c, User: namespace, Dir: t.TempDir()}
	process := startWebhook(t, config)

	next, err := cluster.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	// The API server trusts old and new, as during any rotation.
	both := append(append([]byte{}, c.CA.PEM...), next.PEM...)
	handlers.Register(t, c, product.Registration{Addr: process.Addr, CABundle: both, Namespaces: []string{namespace}})

	pair, err := next.Server("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	dir := config.CertDir()
	// Half of the change first: the pair does not match, the older one is served.
	if err := os.WriteFile(filepath.Join(dir, "tls.crt"), pair.Cert, 0o600); err != nil {
		t.Fatal(err)
	}
	if issuer := servedIssuer(t, process.Addr); issuer != string(c.CA.Subject()) {
		t.Errorf("half-written pair: served a certificate of %q", issuer)
	}
	if _, err := createPod(t.Context(), c, namespace, podOf("before", "default")); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tls.key"), pair.Key, 0o600); err != nil {
		t.Fatal(err)
	}
	if issuer := servedIssuer(t, process.Addr); issuer != string(next.Subject()) {
		t.Errorf("new pair: served a certificate of %q", issuer)
	}
	if _, err := createPod(t.Context(), c, namespace, podOf("after", "default")); err != nil {
		t.Error(err)
	}
	want := fmt.Sprintf("azwi_certificate_expiry_timestamp_seconds %g", float64(pair.NotAfter().Unix()))
	if metrics := get(t, "http://"+process.MetricsAddr+"/metrics"); !strings.Contains(metrics, want) {
		t.Errorf("metrics lack %q", want)
	}
}

func servedIssuer(t *testing.T, addr string) string {
	t.Helper()
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}} //nolint:gosec // looks at the certificate itself
	conn, err := dialer.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return string(conn.(*tls.Conn).ConnectionState().PeerCertificates[0].RawIssuer)
}

func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestClientCertificate admits only the API server when asked to.
func TestClientCertificate(t *testing.T) {
	t.Parallel()
	c := control.Start(t)
	namespace := newNamespace(t, c)
	process := startWebhook(t, product.WebhookConfig{Cluster: c, User: namespace,
		Args: []string{"--client-ca-file=" + c.CAFile, "--client-names=kube-apiserver"}})
	handlers.Register(t, c, product.Registration{Addr: process.Addr, Namespaces: []string{namespace}})

	ask := func(client *http.Client) (int, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+process.Addr+contract.WebhookPath, strings.NewReader("{}"))
		if err != nil {
			return 0, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	}
	if code, err := ask(c.Anonymous().HTTP); err == nil {
		t.Errorf("a caller without certificate got %d", code)
	}
	jane, err := c.As("jane")
	if err != nil {
		t.Fatal(err)
	}
	if code, err := ask(jane.HTTP); err != nil || code != http.StatusForbidden {
		t.Errorf("a caller with another certificate got %d, %v; want 403", code, err)
	}
}

// TestRollingUpdate ends one of two webhooks while pods are created: no creation
// fails. A forwarder stands for the Service: it sends new connections to a ready
// webhook, and learns of readiness late, as kube-proxy does.
func TestRollingUpdate(t *testing.T) {
	t.Parallel()
	c := control.Start(t)
	namespace := newNamespace(t, c)
	dir := t.TempDir()
	args := []string{"--drain-delay=1s"}
	old := startWebhook(t, product.WebhookConfig{Cluster: c, User: namespace, Dir: dir, Args: args})
	forwarder := newForwarder(t, old.Addr)
	handlers.Register(t, c, product.Registration{Addr: forwarder.addr(), Namespaces: []string{namespace}})
	if err := createAccount(t.Context(), c, namespace, "orders", guid(1)); err != nil {
		t.Fatal(err)
	}

	var created atomic.Int64
	halfway, end := make(chan struct{}), make(chan struct{})
	g, ctx := errgroup.WithContext(t.Context())
	for i := range 8 {
		g.Go(func() error {
			for n := 0; ; n++ {
				select {
				case <-end:
					return nil
				default:
				}
				pod, err := createPod(ctx, c, namespace, podOf(fmt.Sprintf("pod-%d-%d", i, n), "orders"))
				if err != nil {
					return err
				}
				if pod.Spec.Containers[0].env(contract.EnvClientID) != guid(1) {
					return fmt.Errorf("pod without its identity")
				}
				if created.Add(1) == 100 {
					close(halfway)
				}
			}
		})
	}
	g.Go(func() error {
		defer close(end)
		select {
		case <-halfway:
		case <-ctx.Done():
			return ctx.Err()
		}
		next := startWebhook(t, product.WebhookConfig{Cluster: c, User: namespace, Dir: dir, Args: args})
		if err := old.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		if err := notReady(ctx, old); err != nil {
			return err
		}
		forwarder.set(next.Addr)
		if err := old.Wait(); err != nil {
			return fmt.Errorf("the old webhook ended badly: %w", err)
		}
		for n := range 100 { // with the new one alone
			if _, err := createPod(ctx, c, namespace, podOf(fmt.Sprintf("after-%d", n), "orders")); err != nil {
				return err
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d pods created, none failed", created.Load())
}

// notReady waits for the webhook to say that it drains.
func notReady(ctx context.Context, w *product.Webhook) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.HealthAddr+"/readyz", http.NoBody)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return nil
		}
		<-tick.C
	}
}

// forwarder passes TCP connections on to a target that can change.
type forwarder struct {
	listener net.Listener
	mu       sync.Mutex
	target   string
}

func newForwarder(t *testing.T, target string) *forwarder {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &forwarder{listener: listener, target: target}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go f.forward(conn)
		}
	}()
	return f
}

func (f *forwarder) addr() string { return f.listener.Addr().String() }

func (f *forwarder) set(target string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.target = target
}

func (f *forwarder) forward(in net.Conn) {
	defer in.Close()
	f.mu.Lock()
	target := f.target
	f.mu.Unlock()
	out, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil {
		return
	}
	defer out.Close()
	done := make(chan struct{})
	go func() { _, _ = io.Copy(out, in); _ = out.(*net.TCPConn).CloseWrite(); close(done) }()
	_, _ = io.Copy(in, out)
	_ = in.(*net.TCPConn).CloseWrite()
	<-done
}

// TestPriorityAndFairness starves the webhook's reads of service accounts by a
// priority level without seats: creations fail with an error that says to try
// again, and no pod comes through without its identity. With a FlowSchema of the
// kind that the product ships, all succeed under the same load.
func TestPriorityAndFairness(t *testing.T) {
	t.Parallel()
	c := control.Start(t)
	namespace := newNamespace(t, c)
	process := startWebhook(t, product.WebhookConfig{Cluster: c, User: namespace})
	handlers.Register(t, c, product.Registration{Addr: process.Addr, Namespaces: []string{namespace}})
	const accounts = 40
	for i := range accounts {
		if err := createAccount(t.Context(), c, namespace, fmt.Sprintf("sa-%d", i), guid(i)); err != nil {
			t.Fatal(err)
		}
	}
	const group = "/apis/flowcontrol.apiserver.k8s.io/v1/"
	put := func(kind, name string, spec object) {
		t.Helper()
		if _, err := c.Admin.Do(t.Context(), "POST", group+kind, object{"metadata": object{"name": name}, "spec": spec}, nil); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if _, err := c.Admin.Do(context.WithoutCancel(t.Context()), "DELETE", group+kind+"/"+name, nil, nil); err != nil {
				t.Error(err)
			}
		})
	}
	level := func(shares int) object {
		return object{"type": "Limited", "limited": object{"nominalConcurrencyShares": shares, "lendablePercent": 0, "borrowingLimitPercent": 0, "limitResponse": object{"type": "Reject"}}}
	}
	schema := func(level string, precedence int) object {
		return object{
			"priorityLevelConfiguration": object{"name": level}, "matchingPrecedence": precedence,
			"rules": []object{{
				"subjects":      []object{{"kind": "User", "user": object{"name": namespace}}},
				"resourceRules": []object{{"verbs": []string{"get"}, "apiGroups": []string{""}, "resources": []string{"serviceaccounts"}, "namespaces": []string{"*"}}},
			}},
		}
	}
	load := func() (ok, refused int, err error) {
		var mu sync.Mutex
		g, ctx := errgroup.WithContext(t.Context())
		g.SetLimit(accounts)
		for i := range 5 * accounts {
			g.Go(func() error {
				name := fmt.Sprintf("sa-%d", i%accounts)
				pod, err := createPod(ctx, c, namespace, podOf(fmt.Sprintf("pod-%d", i), name))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil && pod.Spec.Containers[0].env(contract.EnvClientID) == guid(i%accounts):
					ok++
				case err == nil:
					return fmt.Errorf("pod of %s came through without its identity", name)
				case statusCode(err) == http.StatusServiceUnavailable && strings.Contains(err.Error(), "try again"):
					refused++
				default:
					return err
				}
				return nil
			})
		}
		err = g.Wait()
		return ok, refused, err
	}
	starved := namespace + "-starved"
	put("prioritylevelconfigurations", starved, level(0))
	put("flowschemas", starved, schema(starved, 200))
	// The API server takes new levels into account after a moment.
	deadline := time.Now().Add(30 * time.Second)
	for {
		ok, refused, err := load()
		if err != nil {
			t.Fatal(err)
		}
		if refused > 0 {
			t.Logf("starved: %d created, %d refused with a request to try again", ok, refused)
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the starving level never took effect")
		}
	}
	own := namespace + "-own"
	put("prioritylevelconfigurations", own, object{"type": "Limited", "limited": object{
		"nominalConcurrencyShares": 20, "lendablePercent": 50,
		"limitResponse": object{"type": "Queue", "queuing": object{"queues": 16, "handSize": 4, "queueLengthLimit": 100}},
	}})
	put("flowschemas", own, schema(own, 100))
	for {
		ok, refused, err := load()
		if err != nil {
			t.Fatal(err)
		}
		if refused == 0 {
			t.Logf("with a FlowSchema: %d created, none refused", ok)
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("with a FlowSchema of its own the webhook was still refused %d times", refused)
		}
	}
}
