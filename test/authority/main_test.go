package authority_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"azwi/contract"
	"azwi/internal/admission/authority"
	"azwi/internal/kube"
	"azwi/test/cluster"
	"azwi/test/process"
	"azwi/test/product"
)

var (
	control cluster.Shared
	webhook = binary{build: func(ctx context.Context, dir string) (string, error) {
		return product.Build(ctx, dir, "azwi-webhook", true)
	}}
	certController = binary{build: buildCertController}
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "azwi-authority-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	webhook.dir, certController.dir = dir, dir
	return control.Run(m)
}

// A binary is built by the first test that needs it.
type binary struct {
	dir   string
	build func(ctx context.Context, dir string) (string, error)
	once  sync.Once
	file  string
	err   error
}

func (b *binary) get(t *testing.T) string {
	t.Helper()
	b.once.Do(func() { b.file, b.err = b.build(context.WithoutCancel(t.Context()), b.dir) })
	if b.err != nil {
		t.Fatal(b.err)
	}
	return b.file
}

func buildCertController(ctx context.Context, dir string) (string, error) {
	file := filepath.Join(dir, "certcontroller")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", file, ".")
	cmd.Dir = "certcontroller"
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build cert-controller: %w\n%s", err, out)
	}
	return file, nil
}

type object = map[string]any

// A site is a namespace with the product's Secret, and a webhook configuration for
// pods of that namespace.
type site struct {
	*cluster.Cluster
	namespace string // and the name of configuration and users
}

// host is what the certificates are for: cert-controller knows DNS names only.
const host = "localhost"

func newSite(t *testing.T, c *cluster.Cluster) *site {
	t.Helper()
	namespace, err := c.NewNamespace(t.Context(), "authority")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{c, namespace}
	s.do(t, "POST", "/api/v1/namespaces/"+namespace+"/secrets", object{
		"metadata": object{"name": contract.WebhookSecret, "labels": object{"app": "ours"}}, "type": "Opaque",
	}, nil)
	return s
}

func (s *site) do(t *testing.T, method, path string, in, out any) {
	t.Helper()
	if _, err := s.Admin.Do(context.WithoutCancel(t.Context()), method, path, in, out); err != nil {
		t.Fatal(err)
	}
}

func (s *site) own() product.OwnCertificate {
	return product.OwnCertificate{Namespace: s.namespace, Configuration: s.namespace, Names: host}
}

const configurations = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"

// register has the API server call webhooks at all these ports for the namespace's
// labelled pods.
func (s *site) register(t *testing.T, ports ...string) {
	t.Helper()
	var webhooks []object
	for i, port := range ports {
		webhooks = append(webhooks, object{
			"name": fmt.Sprintf("w%d.%s", i, contract.WebhookName), "admissionReviewVersions": []string{"v1"}, "sideEffects": "None",
			"clientConfig":      object{"url": "https://" + net.JoinHostPort(host, port) + contract.WebhookPath},
			"namespaceSelector": object{"matchLabels": object{"kubernetes.io/metadata.name": s.namespace}},
			"objectSelector":    object{"matchLabels": object{contract.UseLabel: contract.UseLabelValue}},
			"rules": []object{{
				"apiGroups": []string{""}, "apiVersions": []string{"v1"}, "operations": []string{"CREATE"}, "resources": []string{"pods"},
			}},
		})
	}
	s.do(t, "POST", configurations, object{
		"metadata": object{"name": s.namespace, "annotations": object{"admissions.enforcer/disabled": "true"}}, "webhooks": webhooks,
	}, nil)
	t.Cleanup(func() { s.do(t, "DELETE", configurations+"/"+s.namespace, nil, nil) })
}

type secret struct {
	Metadata struct {
		ResourceVersion string
		Labels          map[string]string
	}
	Data map[string][]byte
}

func (s *site) secretPath() string {
	return "/api/v1/namespaces/" + s.namespace + "/secrets/" + contract.WebhookSecret
}

func (s *site) secret(t *testing.T) (found secret) {
	t.Helper()
	s.do(t, "GET", s.secretPath(), nil, &found)
	return found
}

// setSecret replaces all data.
func (s *site) setSecret(t *testing.T, data map[string][]byte) {
	t.Helper()
	s.do(t, "PATCH", s.secretPath(), []object{{"op": "add", "path": "/data", "value": data}}, nil)
}

type configuration struct {
	Metadata struct{ ResourceVersion string }
	Webhooks []struct {
		ClientConfig struct{ CABundle []byte }
	}
}

func (s *site) configuration(t *testing.T) (found configuration) {
	t.Helper()
	s.do(t, "GET", configurations+"/"+s.namespace, nil, &found)
	return found
}

func (s *site) createPod(ctx context.Context) error {
	pod := object{
		"metadata": object{"generateName": "pod-", "labels": object{contract.UseLabel: contract.UseLabelValue}},
		"spec":     object{"containers": []object{{"name": "app", "image": "app:1"}}},
	}
	_, err := s.Admin.Do(ctx, "POST", "/api/v1/namespaces/"+s.namespace+"/pods?dryRun=All", pod, nil)
	return err
}

// eventually asks until there is no error.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s: %v", what, err)
		case <-tick.C:
		}
	}
}

// load creates pods one after another until stop is called, which fails the test if
// one was refused.
func (s *site) load(t *testing.T) (stop func()) {
	t.Helper()
	eventually(t, "create a pod", func() error { return s.createPod(t.Context()) })
	ctx, cancel := context.WithCancel(t.Context())
	var refused []error
	created := 0
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := s.createPod(ctx); err == nil {
				created++
			} else if ctx.Err() == nil {
				refused = append(refused, fmt.Errorf("%s: %w", time.Now().Format(time.StampMicro), err))
			}
		}
	}()
	return func() {
		t.Helper()
		cancel()
		<-done
		t.Logf("%d pods created, %d refused", created, len(refused))
		if len(refused) > 0 {
			t.Errorf("%d refusals, the first: %v", len(refused), refused[0])
		}
	}
}

// quiet fails the test if somebody still writes.
func (s *site) quiet(t *testing.T) {
	t.Helper()
	var secretVersion, configurationVersion string
	eventually(t, "writes do not end", func() error {
		one, two := s.secret(t).Metadata.ResourceVersion, s.configuration(t).Metadata.ResourceVersion
		<-time.After(3 * time.Second)
		secretVersion, configurationVersion = s.secret(t).Metadata.ResourceVersion, s.configuration(t).Metadata.ResourceVersion
		if one != secretVersion || two != configurationVersion {
			return errors.New("written within the last 3 s")
		}
		return nil
	})
}

// bundled fails the test unless the bundle is the Secret's ca.crt.
func (s *site) bundled(t *testing.T) {
	t.Helper()
	eventually(t, "caBundle", func() error {
		want := s.secret(t).Data["ca.crt"]
		for _, w := range s.configuration(t).Webhooks {
			if !bytes.Equal(w.ClientConfig.CABundle, want) {
				return errors.New("not the Secret's ca.crt")
			}
		}
		return nil
	})
}

// clock can be set forward.
type clock struct{ by atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.by.Load())) }

// A replica keeps and serves a certificate in this process. Every admission has a
// connection of its own, and so a handshake.
type replica struct {
	*authority.Authority
	port   string
	writes atomic.Int32
}

func (s *site) startReplica(t *testing.T, config authority.Config) *replica {
	t.Helper()
	if err := s.own().Allow(t.Context(), s.Cluster, s.namespace); err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := s.WriteKubeconfig(kubeconfig, s.namespace); err != nil {
		t.Fatal(err)
	}
	api, err := kube.Connect(kube.Config{Kubeconfig: kubeconfig, Timeout: -1, Protocols: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{}
	config.API, config.Namespace, config.Secret, config.Configuration, config.Names = api, s.namespace, contract.WebhookSecret, s.namespace, []string{host}
	config.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	config.Wrote = func(string) { r.writes.Add(1) }
	if r.Authority, err = authority.New(config); err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if _, r.port, err = net.SplitHostPort(listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler: http.HandlerFunc(allow), ReadHeaderTimeout: 5 * time.Second,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo), // the API server tells it better
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return r.Current()
		}},
	}
	server.SetKeepAlivesEnabled(false)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	go func() { _ = server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() {
		cancel()
		_ = server.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return r
}

func allow(w http.ResponseWriter, r *http.Request) {
	var review struct{ Request struct{ UID string } }
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(object{
		"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": object{"uid": review.Request.UID, "allowed": true},
	})
}

// startCertController runs cert-controller as upstream v1.6.0 does, with upstream's
// rights, and returns when it is ready.
func (s *site) startCertController(t *testing.T) *process.Child {
	t.Helper()
	dir := t.TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := s.WriteKubeconfig(kubeconfig, "upstream-"+s.namespace, "system:masters"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tls.crt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	file := certController.get(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	child, _, err := product.StartServing(ctx, process.Config{
		Binary: file,
		Args: []string{
			"--kubeconfig=" + kubeconfig, "--namespace=" + s.namespace, "--configuration=" + s.namespace, "--dns-name=" + host, "--cert-dir=" + dir,
		},
		Stderr: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := child.Stop(20 * time.Second); err != nil {
			t.Errorf("cert-controller ended badly: %v", err)
		}
	})
	return child
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }
