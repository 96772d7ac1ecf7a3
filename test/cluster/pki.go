package cluster

import (
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
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certificateLife is how long everything signed here is valid: longer than any
// test, shorter than somebody's memory of a cluster left running.
const certificateLife = 365 * 24 * time.Hour

// CA is a certificate authority. A cluster has one, which signs the API server's
// certificate, all client certificates and, for tests, those of webhooks.
type CA struct {
	// PEM is the authority's own certificate.
	PEM []byte

	cert *x509.Certificate
	key  crypto.Signer
}

// Pair is a certificate and its private key, both as PEM.
type Pair struct {
	Cert, Key []byte
}

// NotAfter is when the pair's certificate expires; the zero time if it is none.
func (p Pair) NotAfter() time.Time {
	cert, err := p.TLS()
	if err != nil {
		return time.Time{}
	}
	return cert.Leaf.NotAfter
}

// TLS returns the pair as crypto/tls wants it.
func (p Pair) TLS() (tls.Certificate, error) { return tls.X509KeyPair(p.Cert, p.Key) }

// Write writes the pair into two files that only their owner can read.
func (p Pair) Write(certFile, keyFile string) error {
	if err := os.WriteFile(certFile, p.Cert, 0o600); err != nil {
		return err
	}
	return os.WriteFile(keyFile, p.Key, 0o600)
}

// Subject is the authority's distinguished name in DER.
func (ca *CA) Subject() []byte { return ca.cert.RawSubject }

// NewCA makes a certificate authority with a key of its own.
func NewCA() (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template, err := template("azwi test authority")
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign the authority's certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &CA{PEM: certificatePEM(der), cert: cert, key: key}, nil
}

// Pool holds the authority alone, for clients that shall trust nothing else.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// Server issues a serving certificate for the names, each a DNS name or an IP address.
func (ca *CA) Server(names ...string) (Pair, error) {
	if len(names) == 0 {
		return Pair{}, errors.New("a serving certificate needs a name")
	}
	template, err := template(names[0])
	if err != nil {
		return Pair{}, err
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return ca.issue(template, x509.ExtKeyUsageServerAuth)
}

// Client issues a client certificate, by which the API server knows the user and its groups.
func (ca *CA) Client(user string, groups ...string) (Pair, error) {
	template, err := template(user)
	if err != nil {
		return Pair{}, err
	}
	template.Subject.Organization = groups
	return ca.issue(template, x509.ExtKeyUsageClientAuth)
}

func (ca *CA) issue(template *x509.Certificate, usage x509.ExtKeyUsage) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{usage}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return Pair{}, fmt.Errorf("sign a certificate for %s: %w", template.Subject.CommonName, err)
	}
	keyBytes, err := keyPEM(key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{Cert: certificatePEM(der), Key: keyBytes}, nil
}

// loadCA reads the authority kept in dir, or makes one there.
func loadCA(dir string) (*CA, error) {
	certFile, keyFile := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err == nil {
		signer, ok := pair.PrivateKey.(crypto.Signer)
		if !ok {
			return nil, fmt.Errorf("%s: no signing key", keyFile)
		}
		return &CA{PEM: certificatePEM(pair.Certificate[0]), cert: pair.Leaf, key: signer}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	ca, err := NewCA()
	if err != nil {
		return nil, err
	}
	keyBytes, err := keyPEM(ca.key)
	if err != nil {
		return nil, err
	}
	return ca, Pair{Cert: ca.PEM, Key: keyBytes}.Write(certFile, keyFile)
}

// ensureServiceAccountKey leaves an RSA key at file, which signs service account
// tokens: RS256 is the one algorithm Entra takes from an issuer.
func ensureServiceAccountKey(file string) error {
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	keyBytes, err := keyPEM(key)
	if err != nil {
		return err
	}
	return os.WriteFile(file, keyBytes, 0o600)
}

func template(commonName string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: commonName},
		NotBefore:    now.Add(-time.Hour), // a clock behind ours still accepts it
		NotAfter:     now.Add(certificateLife),
	}, nil
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func keyPEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
