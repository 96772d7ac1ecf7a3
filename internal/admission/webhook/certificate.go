package webhook

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"azwi/internal/plainfile"
)

// A keyPair is the serving certificate mounted in a folder, as tls.crt and
// tls.key. It is looked at for every new connection, so a renewed one is served at
// once; connections are few and kept. A pair that is half written or broken leaves
// the one before it in use.
type keyPair struct {
	dir     string
	logger  *slog.Logger
	renewed func(notAfter time.Time)

	mu       sync.Mutex
	cert     *tls.Certificate
	crt, key []byte
	failure  string // logged once
}

// Current returns the newest usable certificate; the error says why there is none.
func (p *keyPair) Current() (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.reload()
	switch {
	case err == nil:
		p.failure = ""
	case err.Error() != p.failure:
		p.failure = err.Error()
		p.logger.Error("serving certificate can't be used", "dir", p.dir, "error", err, "servingOlderOne", p.cert != nil)
	}
	if p.cert == nil {
		return nil, err
	}
	return p.cert, nil
}

// mostPEM bounds a file of certificates or keys, in bytes, as a Secret is bounded.
const mostPEM = 1 << 20

func (p *keyPair) reload() error {
	crt, err := plainfile.Read(filepath.Join(p.dir, "tls.crt"), mostPEM)
	if err != nil {
		return err
	}
	key, err := plainfile.Read(filepath.Join(p.dir, "tls.key"), mostPEM)
	if err != nil {
		return err
	}
	if p.cert != nil && bytes.Equal(crt, p.crt) && bytes.Equal(key, p.key) {
		return nil
	}
	cert, err := tls.X509KeyPair(crt, key)
	if err != nil {
		// The error of crypto/tls tells of PEM blocks and types, never of the key.
		return fmt.Errorf("tls.crt and tls.key: %w", err)
	}
	p.cert, p.crt, p.key = &cert, crt, key
	p.renewed(cert.Leaf.NotAfter)
	p.logger.Info("serving certificate loaded", "notAfter", cert.Leaf.NotAfter, "names", cert.Leaf.DNSNames)
	return nil
}

// Ready returns nil if there is a certificate. Whether callers trust it is up to
// whoever mounted it.
func (p *keyPair) Ready() error {
	_, err := p.Current()
	return err
}

// tlsConfig serves the certificate. With a client CA, a file, only callers with a
// certificate of that CA are served; the file is read for every new connection.
func (s *Server) tlsConfig() *tls.Config {
	base := &tls.Config{
		MinVersion:     s.config.MinTLS,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.config.Certificate.Current() },
	}
	file := s.config.ClientCAFile
	if file == "" {
		return base
	}
	base.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		pool, err := readPool(file)
		if err != nil {
			s.config.Logger.Error("client CA can't be used", "file", file, "error", err)
			return nil, err
		}
		c := base.Clone()
		c.GetConfigForClient = nil
		c.ClientCAs, c.ClientAuth = pool, tls.RequireAndVerifyClientCert
		c.VerifyConnection = func(state tls.ConnectionState) error {
			if conn := asConnection(hello.Conn); conn != nil && s.callerAllowed(&state) {
				conn.verify()
			}
			return nil
		}
		return c, nil
	}
	return base
}

func readPool(file string) (*x509.CertPool, error) {
	pem, err := plainfile.Read(file, mostPEM)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in PEM")
	}
	return pool, nil
}
