package authority

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const day = 24 * time.Hour

// Enough keys that none comes again in a Secret while another one of it is in use.
const sharedKeys = 16

var makeSharedKeys = sync.OnceValues(func() ([]*rsa.PrivateKey, error) {
	var keys []*rsa.PrivateKey
	for range sharedKeys {
		key, err := rsa.GenerateKey(rand.Reader, authorityBits)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
})

// nextKey is a key that this store had not before, or not lately.
func (s *store) nextKey() (*rsa.PrivateKey, error) {
	keys, err := makeSharedKeys()
	if err != nil {
		return nil, err
	}
	return keys[s.keysTaken.Add(1)%sharedKeys], nil
}

// start runs replicas until the test's end.
func start(t *testing.T, s *store, n int, c Config) []*Authority {
	t.Helper()
	c.API, c.Namespace, c.Secret, c.Configuration, c.Names = s.client(), "ns", "secret", "configuration", []string{"webhook.ns.svc", "127.0.0.1"}
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	var replicas []*Authority
	for range n {
		a, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		a.generate = s.nextKey
		replicas = append(replicas, a)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
	return replicas
}

// TestYears lets two replicas renew for two weeks what lasts for hours: no caller is
// ever refused, and nothing is written but what is due.
func TestYears(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		replicas := start(t, s, 2, Config{Lifetime: day, AuthorityLifetime: 5 * day, RenewBefore: day / 4, Overlap: 3 * time.Hour})
		synctest.Wait()
		m, bundle, _, _ := s.look()
		accepted(t, bundle, replicas...)
		authorities, leaves := map[string]bool{}, map[string]bool{}
		before := bundle
		for range 15 * 24 {
			time.Sleep(time.Hour) //nolint:forbidigo // the bubble's clock
			synctest.Wait()
			m, bundle, _, _ = s.look()
			accepted(t, bundle, replicas...)
			// An API server that is an hour behind does as well.
			accepted(t, before, replicas...)
			before = bundle
			authorities[string(bundle[0].Raw)], leaves[string(m.cert)] = true, true
			if err := replicas[0].Ready(); err != nil {
				t.Fatal(err)
			}
		}
		_, _, secretWrites, bundleWrites := s.look()
		// 15 days / 4.75, and every 18 hours within each.
		if len(authorities) != 4 || len(leaves) < 20 || len(leaves) > 23 {
			t.Errorf("%d authorities and %d certificates in 15 days", len(authorities), len(leaves))
		}
		// A former authority is dropped with a write of its own.
		if want := len(leaves) + len(authorities) - 1; secretWrites != want || bundleWrites != 2*len(authorities)-1 {
			t.Errorf("%d writes of the Secret, want %d; %d of the bundle, want %d", secretWrites, want, bundleWrites, 2*len(authorities)-1)
		}
	})
}

// TestDefaults: a certificate lasts a year and is renewed 90 days before its end.
func TestDefaults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		a := start(t, s, 1, Config{})[0]
		synctest.Wait()
		served, err := a.Current()
		if err != nil {
			t.Fatal(err)
		}
		m, bundle, _, _ := s.look()
		due, err := a.rules.due(m, served)
		if err != nil {
			t.Fatal(err)
		}
		for what, test := range map[string]struct{ got, want time.Time }{
			"certificate": {served.Leaf.NotAfter, time.Now().Add(365 * day)},
			"authority":   {bundle[0].NotAfter, time.Now().Add(3650 * day)},
			"renewal":     {due, time.Now().Add(275 * day)},
		} {
			if !test.got.Equal(test.want) {
				t.Errorf("%s: %s, want %s", what, test.got, test.want)
			}
		}
		if _, reason, err := a.rules.renew(t.Context(), m, due.Add(-time.Minute), nil, nil); reason != "" || err != nil {
			t.Errorf("early: %q, %v", reason, err)
		}
		if _, reason, err := a.rules.renew(t.Context(), m, due.Add(time.Minute), nil, nil); !strings.HasPrefix(reason, "the certificate is renewed") || err != nil {
			t.Errorf("due: %q, %v", reason, err)
		}
	})
}

// TestDamage has the Secret damaged in every way under two running replicas, and
// found so by new ones: it heals, callers of before and after accept the running
// replicas at any moment, and no log line shows a key.
func TestDamage(t *testing.T) {
	t.Parallel()
	flip := func(pem []byte) []byte {
		out := bytes.Clone(pem)
		out[len(out)/2] = '!'
		return out
	}
	cut := func(pem []byte) []byte { return pem[:len(pem)/2] }
	for _, test := range []struct {
		name          string
		damage        func(m, other material) map[string][]byte
		sameAuthority bool
		old           bool // the other material is from before the overlap
	}{
		{name: "emptied", damage: func(material, material) map[string][]byte { return nil }},
		{name: "no ca.crt", damage: func(m, _ material) map[string][]byte { m.caCert = nil; return m.data() }},
		{name: "no ca.key", damage: func(m, _ material) map[string][]byte { m.caKey = nil; return m.data() }},
		{name: "no tls.crt", damage: func(m, _ material) map[string][]byte { m.cert = nil; return m.data() }, sameAuthority: true},
		{name: "no tls.key", damage: func(m, _ material) map[string][]byte { m.key = nil; return m.data() }, sameAuthority: true},
		{name: "half of tls.key", damage: func(m, _ material) map[string][]byte { m.key = cut(m.key); return m.data() }, sameAuthority: true},
		{name: "half of ca.key", damage: func(m, _ material) map[string][]byte { m.caKey = cut(m.caKey); return m.data() }},
		{name: "broken ca.crt", damage: func(m, _ material) map[string][]byte { m.caCert = flip(m.caCert); return m.data() }},
		{name: "broken tls.crt", damage: func(m, _ material) map[string][]byte { m.cert = flip(m.cert); return m.data() }, sameAuthority: true},
		{name: "key of another certificate", damage: func(m, o material) map[string][]byte { m.key = o.key; return m.data() }, sameAuthority: true},
		{name: "certificate of another authority", damage: func(m, o material) map[string][]byte { m.cert, m.key = o.cert, o.key; return m.data() }, sameAuthority: true},
		{name: "key of another authority", damage: func(m, o material) map[string][]byte { m.caKey = o.caKey; return m.data() }},
		{name: "leaf as authority", damage: func(m, _ material) map[string][]byte { m.caCert, m.caKey = m.cert, m.key; return m.data() }},
		{name: "another program's", damage: func(_, o material) map[string][]byte { return o.data() }},
		{name: "a backup", damage: func(_, o material) map[string][]byte { return o.data() }, old: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				logger := slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
				s := newStore()
				running := start(t, s, 2, Config{Logger: logger})
				time.Sleep(day + time.Hour) //nolint:forbidigo // the bubble's clock
				synctest.Wait()
				before, bundle, _, _ := s.look()
				born := time.Now()
				if test.old {
					born = born.Add(-10 * day)
				}
				other, _, err := running[0].rules.renew(t.Context(), material{}, born, nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				s.set(test.damage(before, other))
				fresh := start(t, s, 1, Config{Logger: logger})
				synctest.Wait()
				accepted(t, bundle, running...)

				m, after, _, _ := s.look()
				accepted(t, after, append(running, fresh...)...)
				if got := bundle[0].Equal(after[0]); got != test.sameAuthority {
					t.Errorf("same authority: %v, want %v", got, test.sameAuthority)
				}
				if !test.sameAuthority && !test.old && len(after) != 2 {
					t.Errorf("%d authorities in the bundle during the overlap", len(after))
				}
				healthy(t, running[0].rules, m)
				if !same(certificates(m.caCert), after) {
					t.Error("bundle and Secret differ")
				}
				for _, a := range append(running, fresh...) {
					if err := a.Ready(); err != nil {
						t.Error(err)
					}
				}
				time.Sleep(day + time.Hour) //nolint:forbidigo // the bubble's clock
				synctest.Wait()
				if _, last, _, _ := s.look(); len(last) != 1 || !last[0].Equal(after[0]) {
					t.Errorf("after the overlap there are %d authorities", len(last))
				}
				if bytes.Contains(log.Bytes(), []byte("PRIVATE")) || !bytes.Contains(log.Bytes(), []byte("own certificate written")) {
					t.Errorf("log: %s", &log)
				}
			})
		})
	}
}

// TestServedAtOnce: what another program puts into the Secret is served as soon as it
// is read, however long the configuration takes, since that program writes the caBundle next.
func TestServedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		a := start(t, s, 1, Config{})[0]
		synctest.Wait()
		_, bundle, _, _ := s.look()
		other, _, err := a.rules.renew(t.Context(), material{}, time.Now(), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		held := make(chan struct{})
		s.mu.Lock()
		s.held = held
		s.mu.Unlock()
		s.set(other.data())
		synctest.Wait()
		accepted(t, bundle, a)
		accepted(t, certificates(other.caCert), a)
		s.mu.Lock()
		s.held = nil
		s.mu.Unlock()
		close(held)
	})
}

// healthy is what upstream's cert-controller checks before it leaves a Secret alone.
func healthy(t *testing.T, r rules, m material) {
	t.Helper()
	ca, err := m.signer()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.serving(m, []*x509.Certificate{ca.cert}, time.Now().Add(90*day)); err != nil {
		t.Error(err)
	}
	if _, err := ca.cert.Verify(x509.VerifyOptions{DNSName: authorityName, Roots: pool([]*x509.Certificate{ca.cert}), CurrentTime: time.Now().Add(90 * day)}); err != nil {
		t.Error(err)
	}
	if !strings.HasPrefix(string(m.caKey), "-----BEGIN RSA PRIVATE KEY-----") {
		t.Error("the authority's key is not PKCS #1")
	}
}

// TestAPIServerAway: without an API server nothing is served at first, and the reason
// is told; later what is there goes on being served, and is ready.
func TestAPIServerAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		s.setAway(true)
		a := start(t, s, 1, Config{})[0]
		time.Sleep(time.Hour) //nolint:forbidigo // the bubble's clock
		if err := a.Ready(); err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("without an API server: %v", err)
		}
		s.setAway(false)
		time.Sleep(lastRetry) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		if err := a.Ready(); err != nil {
			t.Error(err)
		}
		s.setAway(true)
		time.Sleep(7 * day) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		if err := a.Ready(); err != nil {
			t.Error(err)
		}
		_, bundle, _, _ := s.look()
		accepted(t, bundle, a)
	})
}

// TestFight: a program that always wants another bundle is answered a few times and
// then seldom, and the webhook says that it is not trusted.
func TestFight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		a := start(t, s, 1, Config{})[0]
		synctest.Wait()
		end := time.After(20 * time.Minute)
		unready := 0
		for done := false; !done; {
			select {
			case <-end:
				done = true
			case <-time.After(time.Second):
				s.mu.Lock()
				s.bundles[0] = nil
				s.changed("bundle from outside")
				s.mu.Unlock()
				synctest.Wait()
				if a.Ready() != nil {
					unready++
				}
			}
		}
		if _, _, _, n := s.look(); n < 50 || n > writeBurst+1+int(20*time.Minute/writeEvery) {
			t.Errorf("%d writes in 20 minutes", n)
		}
		if unready == 0 {
			t.Error("always ready")
		}
	})
}

func TestConfig(t *testing.T) {
	t.Parallel()
	c := Config{API: newStore().client(), Namespace: "n", Secret: "s", Configuration: "c", Names: []string{"x"}, Logger: slog.New(slog.DiscardHandler)}
	if _, err := New(c); err != nil {
		t.Error(err)
	}
	for _, change := range []func(*Config){
		func(c *Config) { c.API = nil }, func(c *Config) { c.Namespace = "" }, func(c *Config) { c.Secret = "" },
		func(c *Config) { c.Configuration = "" }, func(c *Config) { c.Names = nil }, func(c *Config) { c.Logger = nil },
		func(c *Config) { c.Lifetime = c.RenewBefore + time.Hour }, func(c *Config) { c.AuthorityLifetime = day },
	} {
		wrong := c
		change(&wrong)
		if _, err := New(wrong); err == nil {
			t.Errorf("no error for %+v", wrong)
		}
	}
}
