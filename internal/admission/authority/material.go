package authority

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"
)

// The keys of the Secret, and the authority's name, are those of upstream's
// cert-controller, which takes an authority for damaged that has another name or a
// key other than RSA in PKCS #1. So either can follow the other.
// https://github.com/open-policy-agent/cert-controller/blob/v0.11.0/pkg/rotator/rotator.go
const (
	caCertKey = "ca.crt"
	caKeyKey  = "ca.key"
	certKey   = "tls.crt"
	keyKey    = "tls.key"

	authorityName = "azure-workload-identity-ca"
	organization  = "azure-workload-identity"
	authorityBits = 2048
)

const (
	// backdate is how far the clocks of those who check may be behind.
	backdate = time.Hour
	// mostFormer bounds how many authorities are kept beside the current one.
	mostFormer = 4
)

// material is what the Secret holds, in PEM.
type material struct {
	// caCert begins with the authority that signs; others follow as long as
	// something that they signed may be in use.
	caCert, caKey []byte
	// cert begins with the serving certificate; what follows leads to a former
	// authority.
	cert, key []byte
}

func (m material) equal(other material) bool {
	return bytes.Equal(m.caCert, other.caCert) && bytes.Equal(m.caKey, other.caKey) &&
		bytes.Equal(m.cert, other.cert) && bytes.Equal(m.key, other.key)
}

// A signer is an authority that can sign.
type signer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// rules say how long things last.
type rules struct {
	names                                             []string
	lifetime, authorityLifetime, renewBefore, overlap time.Duration
	// newKey returns a key for an authority that nobody else has got.
	newKey func(context.Context) (*rsa.PrivateKey, error)
}

// signer returns the authority that signs. The error never tells of the key.
func (m material) signer() (*signer, error) {
	if len(m.caCert) == 0 || len(m.caKey) == 0 {
		return nil, errors.New("it is missing")
	}
	pair, err := tls.X509KeyPair(m.caCert, m.caKey)
	if err != nil {
		return nil, fmt.Errorf("it is damaged: %w", err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !pair.Leaf.IsCA {
		return nil, errors.New("it is not a certificate authority")
	}
	return &signer{pair.Leaf, key}, nil
}

// serving returns the serving certificate if callers who trust the roots accept it
// at that time, for every name.
func (r rules) serving(m material, roots []*x509.Certificate, at time.Time) (*tls.Certificate, error) {
	if len(m.cert) == 0 || len(m.key) == 0 {
		return nil, errors.New("it is missing")
	}
	pair, err := tls.X509KeyPair(m.cert, m.key)
	if err != nil {
		return nil, fmt.Errorf("it is damaged: %w", err)
	}
	return &pair, r.verify(&pair, roots, at)
}

func (r rules) verify(pair *tls.Certificate, roots []*x509.Certificate, at time.Time) error {
	options := x509.VerifyOptions{
		Roots: pool(roots), Intermediates: x509.NewCertPool(), CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, der := range pair.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			options.Intermediates.AddCert(c)
		}
	}
	for _, name := range r.names {
		options.DNSName = name
		if _, err := pair.Leaf.Verify(options); err != nil {
			return err
		}
	}
	return nil
}

// follow returns the material with what lets callers pass who still trust the
// authority before it, which another program has replaced.
func (r rules) follow(m material, now time.Time, before *signer) (material, error) {
	current, err := m.signer()
	if err != nil || before == nil || current.cert.Equal(before.cert) || now.After(before.cert.NotAfter) {
		return m, nil // a damaged authority is renew's concern
	}
	// Later, as with a backup that is put back, renew would drop it at once.
	if now.Before(current.cert.NotBefore.Add(r.overlap)) && !slices.ContainsFunc(certificates(m.caCert), before.cert.Equal) {
		m.caCert = slices.Concat(line(m.caCert), encode(before.cert.Raw))
	}
	if _, err := r.serving(m, []*x509.Certificate{before.cert}, now); err != nil {
		cross, err := before.vouch(current.cert)
		if err != nil {
			return m, err
		}
		m.cert = slices.Concat(line(m.cert), cross)
	}
	return m, nil
}

// renew returns the material as it ought to be, and why it was not so already; the
// reason is empty if the material is as it was. Callers trust the authorities in
// trusted so far; before is the last one known, or nil.
func (r rules) renew(ctx context.Context, m material, now time.Time, before *signer, trusted []*x509.Certificate) (_ material, reason string, err error) {
	current, err := m.signer()
	switch {
	case err != nil:
		reason = "the authority is replaced: " + err.Error()
	case now.Before(current.cert.NotBefore.Add(-backdate)):
		reason = "the authority is replaced: it is not valid yet"
	case now.Add(r.renewBefore).After(current.cert.NotAfter):
		reason = "the authority is replaced: its end is near"
	}
	if reason != "" {
		if current != nil {
			before = current
		}
		m, err = r.replace(ctx, m, now, before, trusted)
		return m, reason, err
	}
	if _, err := r.serving(m, []*x509.Certificate{current.cert}, now.Add(r.renewBefore)); err != nil {
		reason = "the certificate is renewed: " + err.Error()
		if m.cert, m.key, err = current.issue(r, now); err != nil {
			return m, "", err
		}
	}
	if now.After(current.cert.NotBefore.Add(r.overlap)) && len(certificates(m.caCert)) > 1 {
		m.caCert = encode(current.cert.Raw)
		if reason == "" {
			reason = "the former authority is out of use"
		}
	}
	return m, reason, nil
}

// replace makes a new authority and a certificate of it. Those before stay trusted.
func (r rules) replace(ctx context.Context, m material, now time.Time, before *signer, trusted []*x509.Certificate) (material, error) {
	key, err := r.newKey(ctx)
	if err != nil {
		return m, err
	}
	next, err := newSigner(key, now, r.authorityLifetime)
	if err != nil {
		return m, err
	}
	former := slices.Concat(certificates(m.caCert), trusted)
	if before != nil {
		former = append(former, before.cert)
	}
	m.caCert, m.caKey = encode(next.cert.Raw), pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	for _, c := range newest(former, now) {
		m.caCert = append(m.caCert, encode(c.Raw)...)
	}
	if m.cert, m.key, err = next.issue(r, now); err != nil {
		return m, err
	}
	if before != nil && now.Before(before.cert.NotAfter) {
		cross, err := before.vouch(next.cert)
		if err != nil {
			return m, err
		}
		m.cert = append(m.cert, cross...)
	}
	return m, nil
}

// due is when the material has to be looked at again.
func (r rules) due(m material, served *tls.Certificate) (time.Time, error) {
	current, err := m.signer()
	if err != nil {
		return time.Time{}, err
	}
	due := current.cert.NotAfter.Add(-r.renewBefore)
	if end := served.Leaf.NotAfter.Add(-r.renewBefore); end.Before(due) {
		due = end
	}
	if end := current.cert.NotBefore.Add(r.overlap); len(certificates(m.caCert)) > 1 && end.Before(due) {
		due = end
	}
	return due, nil
}

func newSigner(key crypto.Signer, now time.Time, lifetime time.Duration) (*signer, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: authorityName, Organization: []string{organization}},
		DNSNames:              []string{authorityName}, // cert-controller checks it
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(lifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &signer{cert, key}, err
}

// issue signs a new serving certificate, with a key of its own.
func (s *signer) issue(r rules, now time.Time) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: commonName(r.names)},
		NotBefore:             now.Add(-backdate),
		NotAfter:              earlier(now.Add(r.lifetime), s.cert.NotAfter),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, name := range r.names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, s.cert, key.Public(), s.key)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return encode(der), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), nil
}

// commonName is the first name that fits: X.520 allows 64 characters.
func commonName(names []string) string {
	if i := slices.IndexFunc(names, func(n string) bool { return len(n) <= 64 }); i >= 0 {
		return names[i]
	}
	return ""
}

// vouch signs the next authority's certificate, so that whoever trusts s alone
// accepts what the next one signs.
func (s *signer) vouch(next *x509.Certificate) ([]byte, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		RawSubject:            next.RawSubject,
		SubjectKeyId:          next.SubjectKeyId,
		NotBefore:             next.NotBefore,
		NotAfter:              earlier(next.NotAfter, s.cert.NotAfter),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, s.cert, next.PublicKey, s.key)
	if err != nil {
		return nil, err
	}
	return encode(der), nil
}

func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) // RFC 5280 §4.1.2.2: at most 20 octets
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func encode(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// line ends text with a line break, so that another block can follow.
func line(text []byte) []byte { return append(bytes.TrimRight(text, "\n"), '\n') }

// certificates returns those that can be read, in order.
func certificates(text []byte) []*x509.Certificate {
	var found []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return found
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			found = append(found, c)
		}
	}
}

// newest returns the last few authorities that have not expired, each once.
func newest(all []*x509.Certificate, now time.Time) []*x509.Certificate {
	var kept []*x509.Certificate
	for _, c := range all {
		if c.IsCA && now.Before(c.NotAfter) && !slices.ContainsFunc(kept, c.Equal) {
			kept = append(kept, c)
		}
	}
	slices.SortStableFunc(kept, func(a, b *x509.Certificate) int { return b.NotBefore.Compare(a.NotBefore) })
	return kept[:min(len(kept), mostFormer)]
}

// same reports whether two bundles hold the same certificates, in any order.
func same(a, b []*x509.Certificate) bool {
	within := func(a, b []*x509.Certificate) bool {
		return !slices.ContainsFunc(a, func(c *x509.Certificate) bool { return !slices.ContainsFunc(b, c.Equal) })
	}
	return within(a, b) && within(b, a)
}

func pool(certs []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c)
	}
	return p
}
