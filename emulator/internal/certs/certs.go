package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"time"
)

// Lifetime of the authority and of the certificate.
const Lifetime = 30 * 24 * time.Hour

// An Authority is a CA certificate and its key.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// NewAuthority makes an authority for host names, of which those that begin with
// "*." stand for a domain, and for IP addresses beside loopback.
func NewAuthority(names []string, addrs []net.IP, now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:                serial,
		Subject:                     pkix.Name{Organization: []string{"azwi-emulator"}, CommonName: "azwi-emulator " + serial.Text(36)[:8]},
		NotBefore:                   now.Add(-time.Hour),
		NotAfter:                    now.Add(Lifetime),
		IsCA:                        true,
		BasicConstraintsValid:       true,
		MaxPathLenZero:              true,
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         []string{"localhost"},
		PermittedIPRanges: []*net.IPNet{
			{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)},
			{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
		},
	}
	for _, name := range names {
		template.PermittedDNSDomains = append(template.PermittedDNSDomains, strings.TrimPrefix(name, "*."))
	}
	for _, addr := range addrs {
		if v4 := addr.To4(); v4 != nil {
			addr = v4
		}
		template.PermittedIPRanges = append(template.PermittedIPRanges, &net.IPNet{IP: addr, Mask: net.CIDRMask(8*len(addr), 8*len(addr))})
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("create CA certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{cert: cert, key: key}, nil
}

// PEM is the authority's certificate.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// Certificate is the authority's certificate.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// Issue makes a server certificate for the names and addresses, and for
// loopback.
func (a *Authority) Issue(names []string, addrs []net.IP, now time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{Organization: []string{"azwi-emulator"}, CommonName: "localhost"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     a.cert.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     append([]string{"localhost"}, names...),
		IPAddresses:  append([]net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, addrs...),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("create certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// Covers reports whether the authority lasts another day and may issue for all
// the names and addresses.
func (a *Authority) Covers(names []string, addrs []net.IP, now time.Time) bool {
	if now.Add(24 * time.Hour).After(a.cert.NotAfter) {
		return false
	}
	for _, name := range names {
		if !slices.Contains(a.cert.PermittedDNSDomains, strings.TrimPrefix(name, "*.")) {
			return false
		}
	}
	for _, addr := range addrs {
		if !slices.ContainsFunc(a.cert.PermittedIPRanges, func(n *net.IPNet) bool { return n.Contains(addr) }) {
			return false
		}
	}
	return true
}

type stored struct {
	Certificate []byte `json:"certificate"`
	PKCS8       []byte `json:"pkcs8"`
}

// MarshalJSON writes the authority, key included.
func (a *Authority) MarshalJSON() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return nil, err
	}
	return json.Marshal(stored{a.cert.Raw, der})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (a *Authority) UnmarshalJSON(b []byte) error {
	var s stored
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(s.Certificate)
	if err != nil {
		return err
	}
	private, err := x509.ParsePKCS8PrivateKey(s.PKCS8)
	if err != nil {
		return err
	}
	key, ok := private.(*ecdsa.PrivateKey)
	if !ok {
		return errors.New("the CA's key is not ECDSA")
	}
	if public, ok := cert.PublicKey.(*ecdsa.PublicKey); !ok || !public.Equal(key.Public()) {
		return errors.New("the CA's key does not belong to its certificate")
	}
	a.cert, a.key = cert, key
	return nil
}

// Bundle joins the system's roots, as read from its bundle, and the authority.
func (a *Authority) Bundle(system []byte) []byte {
	var b bytes.Buffer
	b.Write(system)
	if len(system) > 0 && system[len(system)-1] != '\n' {
		b.WriteByte('\n')
	}
	b.Write(a.PEM())
	return b.Bytes()
}
