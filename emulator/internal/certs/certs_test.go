package certs

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"testing"
	"time"
)

// verify reports whether a client that trusts the authority accepts the
// certificate for a name.
func verify(t *testing.T, a *Authority, cert tls.Certificate, name string) error {
	t.Helper()
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.Certificate())
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name})
	return err
}

func TestNameConstraints(t *testing.T) {
	t.Parallel()
	now := time.Now()
	names, addrs := []string{"login.example", "*.vault.example"}, []net.IP{net.IPv4(192, 0, 2, 1)}
	a, err := NewAuthority(names, addrs, now)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := a.Issue(names, addrs, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"login.example", "x.vault.example", "localhost", "127.0.0.1", "::1", "192.0.2.1"} {
		if err := verify(t, a, cert, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Whoever gets hold of the key can vouch for nothing else.
	for _, c := range []struct {
		names []string
		addrs []net.IP
		ask   string
	}{
		{[]string{"bank.example"}, nil, "bank.example"},
		{nil, []net.IP{net.IPv4(192, 0, 2, 2)}, "192.0.2.2"},
	} {
		forged, err := a.Issue(c.names, c.addrs, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(t, a, forged, c.ask); err == nil {
			t.Errorf("the authority vouches for %s", c.ask)
		}
	}
	if life := a.Certificate().NotAfter.Sub(now); life > 30*24*time.Hour+time.Second {
		t.Errorf("the authority lasts %v", life)
	}
}

func TestCovers(t *testing.T) {
	t.Parallel()
	now := time.Now()
	made, err := NewAuthority([]string{"a.example"}, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(made)
	if err != nil {
		t.Fatal(err)
	}
	var a Authority
	if err := json.Unmarshal(text, &a); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		names []string
		addrs []net.IP
		now   time.Time
		want  bool
	}{
		{"same", []string{"a.example"}, nil, now, true},
		{"loopback", nil, []net.IP{net.IPv4(127, 0, 0, 9)}, now, true},
		{"other name", []string{"b.example"}, nil, now, false},
		{"other address", nil, []net.IP{net.IPv4(192, 0, 2, 1)}, now, false},
		{"last day", []string{"a.example"}, nil, now.Add(Lifetime - time.Hour), false},
	} {
		if got := a.Covers(tt.names, tt.addrs, tt.now); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
