package authority_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"azwi/contract"
	"azwi/internal/admission/authority"
	"azwi/test/product"
)

// TestWebhooks starts two webhooks with an empty Secret at once: they agree on one
// authority, pods are admitted, and of the configuration nothing but caBundle has
// changed.
func TestWebhooks(t *testing.T) {
	t.Parallel()
	s := newSite(t, control.Start(t))
	one, two := startWebhook(t, s), startWebhook(t, s)
	if err := ready(one); err != nil {
		t.Errorf("without a configuration: %v", err)
	}
	s.register(t, port(one.Addr), port(two.Addr))
	var before, after json.RawMessage
	s.do(t, "GET", configurations+"/"+s.namespace, nil, &before)
	eventually(t, "create a pod", func() error { return s.createPod(t.Context()) })
	s.bundled(t)
	s.quiet(t)
	s.do(t, "GET", configurations+"/"+s.namespace, nil, &after)
	if diff := cmp.Diff(withoutBundle(t, before), withoutBundle(t, after)); diff != "" {
		t.Errorf("more than caBundle has changed: %s", diff)
	}
	found := s.secret(t)
	if got := slices.Sorted(maps.Keys(found.Data)); !slices.Equal(got, []string{"ca.crt", "ca.key", "tls.crt", "tls.key"}) {
		t.Errorf("the Secret has %q", got)
	}
	if found.Metadata.Labels["app"] != "ours" {
		t.Error("the Secret's labels are gone")
	}
	written := ""
	for _, w := range []*product.Webhook{one, two} {
		if err := ready(w); err != nil {
			t.Error(err)
		}
		metrics := get(t, "http://"+w.MetricsAddr+"/metrics")
		if strings.Contains(metrics, `azwi_certificate_writes_total{object="secret"} 1`) {
			written += "1"
		}
		if !strings.Contains(metrics, "azwi_certificate_expiry_timestamp_seconds ") {
			t.Error("no metric of the certificate's end")
		}
	}
	if written != "1" {
		t.Errorf("Secret written: %q", written)
	}
}

// startWebhook runs the real binary with a certificate of its own.
func startWebhook(t *testing.T, s *site) *product.Webhook {
	t.Helper()
	file := webhook.get(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	own := s.own()
	w, err := product.StartWebhook(ctx, product.WebhookConfig{
		Cluster: s.Cluster, Binary: file, Dir: t.TempDir(), User: s.namespace, Own: &own, Log: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Stop(20 * time.Second); err != nil {
			t.Errorf("azwi-webhook ended badly: %v", err)
		}
	})
	eventually(t, "webhook", func() error { return ready(w) })
	return w
}

func ready(w *product.Webhook) error { return probe("http://" + w.HealthAddr + "/readyz") }

// probe is the kubelet's.
func probe(url string) error {
	resp, err := http.Get(url) //nolint:gosec // of the webhook under test
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return err
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url) //nolint:gosec // of the webhook under test
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

// withoutBundle is a configuration without what is allowed to change.
func withoutBundle(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	var o struct {
		Metadata map[string]any
		Webhooks []map[string]any
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"resourceVersion", "generation", "managedFields"} {
		delete(o.Metadata, key)
	}
	for _, w := range o.Webhooks {
		delete(w["clientConfig"].(map[string]any), "caBundle")
	}
	return map[string]any{"metadata": o.Metadata, "webhooks": o.Webhooks}
}

// TestRotation damages the Secret while pods are created that both replicas have to
// admit: none is refused. Then the replicas' clock is set past the overlap.
func TestRotation(t *testing.T) {
	t.Parallel()
	s := newSite(t, control.Start(t))
	var ahead clock
	config := authority.Config{Now: ahead.now}
	one, two := s.startReplica(t, config), s.startReplica(t, config)
	s.register(t, one.port, two.port)
	stop := s.load(t)
	defer stop()

	s.bundled(t)
	first := s.secret(t).Data
	data := func() map[string][]byte { return maps.Clone(s.secret(t).Data) }
	for _, step := range []struct {
		name         string
		do           func()
		newAuthority bool
	}{
		{name: "tls.key lost", do: func() { d := data(); delete(d, "tls.key"); s.setSecret(t, d) }},
		{name: "Secret emptied", do: func() { s.setSecret(t, map[string][]byte{}) }, newAuthority: true},
		{name: "ca.key damaged", do: func() { d := data(); d["ca.key"] = []byte("no key"); s.setSecret(t, d) }, newAuthority: true},
		{name: "a backup put back", do: func() { s.setSecret(t, first) }, newAuthority: true},
	} {
		before := s.secret(t).Data
		step.do()
		eventually(t, step.name, func() error {
			now := s.secret(t).Data
			if len(now) != 4 || bytes.Equal(now["tls.crt"], before["tls.crt"]) {
				return errors.New("not healed")
			}
			return nil
		})
		s.bundled(t)
		s.quiet(t)
		s.bundled(t)
		now := s.secret(t).Data
		firstOf := func(pem []byte) string { a, _, _ := strings.Cut(string(pem), "END"); return a }
		if got := firstOf(now["ca.crt"]) != firstOf(before["ca.crt"]); got != step.newAuthority {
			t.Errorf("%s: new authority: %v", step.name, got)
		}
		for _, r := range []*replica{one, two} {
			if err := r.Ready(); err != nil {
				t.Errorf("%s: %v", step.name, err)
			}
		}
	}
	if n := bytes.Count(s.secret(t).Data["ca.crt"], []byte("BEGIN")); n < 2 {
		t.Errorf("%d authorities in the bundle during the overlap", n)
	}
	ahead.by.Store(int64(25 * time.Hour))
	s.do(t, "PATCH", s.secretPath(), object{"metadata": object{"labels": object{"touched": "yes"}}}, nil)
	eventually(t, "the end of the overlap", func() error {
		if n := bytes.Count(s.secret(t).Data["ca.crt"], []byte("BEGIN")); n != 1 {
			return fmt.Errorf("%d authorities", n)
		}
		return nil
	})
	s.bundled(t)
}

// TestRenewal has certificates and authorities that last for seconds.
func TestRenewal(t *testing.T) {
	t.Parallel()
	s := newSite(t, control.Start(t))
	config := authority.Config{Lifetime: 12 * time.Second, AuthorityLifetime: 16 * time.Second, RenewBefore: 8 * time.Second, Overlap: 2 * time.Hour}
	one, two := s.startReplica(t, config), s.startReplica(t, config)
	s.register(t, one.port, two.port)
	stop := s.load(t)
	authorities, certificates := map[string]bool{}, map[string]bool{}
	eventually(t, "renewals", func() error {
		data := s.secret(t).Data
		authorities[string(data["ca.key"])], certificates[string(data["tls.key"])] = true, true
		if len(authorities) < 3 || len(certificates) < 5 {
			return fmt.Errorf("%d authorities, %d certificates", len(authorities), len(certificates))
		}
		return nil
	})
	stop()
}

// TestUpstreamIsTakenOver finds the Secret as upstream's release left it: it is used
// as it is, and nothing is written.
func TestUpstreamIsTakenOver(t *testing.T) {
	t.Parallel()
	s := newSite(t, control.Start(t))
	s.register(t, "1") // nobody is there yet
	if err := s.startCertController(t).Stop(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	s.bundled(t)
	secretBefore, before := s.secret(t), s.configuration(t)

	r := s.startReplica(t, authority.Config{})
	eventually(t, "replica", r.Ready)
	s.quiet(t)
	if diff := cmp.Diff(secretBefore, s.secret(t)); diff != "" || r.writes.Load() != 0 {
		t.Errorf("%d writes: %s", r.writes.Load(), diff)
	}
	if diff := cmp.Diff(before, s.configuration(t)); diff != "" {
		t.Error(diff)
	}
	// It is what upstream wrote, and the API server accepts it.
	s.do(t, "PATCH", configurations+"/"+s.namespace, []object{{
		"op": "replace", "path": "/webhooks/0/clientConfig/url", "value": "https://" + host + ":" + r.port + contract.WebhookPath,
	}}, nil)
	eventually(t, "create a pod", func() error { return s.createPod(t.Context()) })
}

// TestBesideCertController has cert-controller keep the same objects as two of our
// replicas, as during an upgrade: whoever writes, no pod is refused and the writing
// ends.
func TestBesideCertController(t *testing.T) {
	t.Parallel()
	s := newSite(t, control.Start(t))
	one, two := s.startReplica(t, authority.Config{}), s.startReplica(t, authority.Config{})
	s.register(t, one.port, two.port)
	s.startCertController(t)
	stop := s.load(t)
	for _, damage := range []struct {
		name string
		keys []string
	}{
		{"nothing", nil},
		{"tls.key", []string{"tls.key"}},
		{"ca.key", []string{"ca.key"}},
		{"ca.crt", []string{"ca.crt"}},
		{"all", []string{"ca.crt", "ca.key", "tls.crt", "tls.key"}},
	} {
		data := s.secret(t).Data
		for _, key := range damage.keys {
			delete(data, key)
		}
		s.setSecret(t, data)
		eventually(t, damage.name, func() error {
			if len(s.secret(t).Data) != 4 {
				return errors.New("not healed")
			}
			return nil
		})
		s.quiet(t)
		s.bundled(t)
	}
	stop()
	t.Logf("%d and %d writes of ours", one.writes.Load(), two.writes.Load())

	// A bundle of somebody else's is put right by either, without an end of writing.
	s.do(t, "PATCH", configurations+"/"+s.namespace, []object{{
		"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": s.CA.PEM,
	}}, nil)
	eventually(t, "create a pod", func() error { return s.createPod(t.Context()) })
	s.quiet(t)
	s.bundled(t)
}

// TestMissingSecret tells what to do, and goes on when it has been done.
func TestMissingSecret(t *testing.T) {
	t.Parallel()
	s := newSite(t, control.Start(t))
	s.do(t, "DELETE", s.secretPath(), nil, nil)
	r := s.startReplica(t, authority.Config{})
	eventually(t, "an error that tells what to do", func() error {
		if err := r.Ready(); err == nil || !strings.Contains(err.Error(), "create the Secret "+s.namespace+"/"+contract.WebhookSecret) {
			return fmt.Errorf("ready: %w", err)
		}
		return nil
	})
	s.do(t, "POST", "/api/v1/namespaces/"+s.namespace+"/secrets", object{"metadata": object{"name": contract.WebhookSecret}}, nil)
	eventually(t, "replica", r.Ready)
}
