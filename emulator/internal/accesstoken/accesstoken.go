package accesstoken

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // x5t is defined as SHA-1 (RFC 7515 section 4.1.7)
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/cryptosigner"
)

// A Key signs access tokens: RSA with 2048 bits, and the certificate that x5t
// names.
type Key struct {
	private *rsaKey
	cert    *x509.Certificate
	kid     string
	signer  jose.Signer
}

// keyLifetime is how long the certificate of a key lasts.
const keyLifetime = 5 * 365 * 24 * time.Hour

// NewKey makes a key.
func NewKey() (*Key, error) {
	private, err := generateRSA()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: "azwi-emulator token signing"},
		NotBefore:    now.Add(-time.Hour), NotAfter: now.Add(keyLifetime),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, err
	}
	return newKey(private, der)
}

func newKey(private *rsaKey, der []byte) (*Key, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	sum := sha1.Sum(der)
	k := &Key{private: private, cert: cert, kid: base64.RawURLEncoding.EncodeToString(sum[:])}
	k.signer, err = jose.NewSigner(
		jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: cryptosigner.Opaque(private), KeyID: k.kid}},
		(&jose.SignerOptions{}).WithType("JWT").WithHeader("x5t", k.kid))
	return k, err
}

// stored is a key in the state directory.
type stored struct {
	Primes      []*big.Int `json:"primes"`
	Certificate []byte     `json:"certificate"`
}

// MarshalJSON writes the key, private part included.
func (k *Key) MarshalJSON() ([]byte, error) {
	return json.Marshal(stored{k.private.primes(), k.cert.Raw})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (k *Key) UnmarshalJSON(b []byte) error {
	var s stored
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	private, err := newRSA(s.Primes)
	if err != nil {
		return fmt.Errorf("signing key: %w", err)
	}
	read, err := newKey(private, s.Certificate)
	if err != nil {
		return err
	}
	if public, ok := read.cert.PublicKey.(*rsa.PublicKey); !ok || !public.Equal(private.Public()) {
		return errors.New("the signing key does not belong to its certificate")
	}
	*k = *read
	return nil
}

// A Service mints and verifies tokens. It is safe for concurrent use.
type Service struct {
	key func() (*Key, error)
	now func() time.Time
}

// New returns a service over a key. A nil key is made in the background, so
// that making it does not delay the start.
func New(key *Key, now func() time.Time) *Service {
	if key != nil {
		return &Service{key: func() (*Key, error) { return key, nil }, now: now}
	}
	make := sync.OnceValues(NewKey)
	go func() { _, _ = make() }()
	return &Service{key: make, now: now}
}

// Key waits for the key.
func (s *Service) Key() (*Key, error) { return s.key() }

// Claims are what an access token says. Source of the set: "Access token claims
// reference", Microsoft identity platform.
type Claims struct {
	Audience  string `json:"aud"`
	Issuer    string `json:"iss"`
	IssuedAt  int64  `json:"iat"`
	NotBefore int64  `json:"nbf"`
	Expires   int64  `json:"exp"`
	AIO       string `json:"aio,omitempty"`
	// AppID and AppIDACR are in tokens of version 1.0, AZP and AZPACR in 2.0.
	AppID    string   `json:"appid,omitempty"`
	AppIDACR string   `json:"appidacr,omitempty"`
	AZP      string   `json:"azp,omitempty"`
	AZPACR   string   `json:"azpacr,omitempty"`
	IDP      string   `json:"idp,omitempty"`
	IDType   string   `json:"idtyp,omitempty"`
	ObjectID string   `json:"oid"`
	RH       string   `json:"rh,omitempty"`
	Roles    []string `json:"roles,omitempty"`
	Subject  string   `json:"sub"`
	TenantID string   `json:"tid"`
	UTI      string   `json:"uti"`
	Version  string   `json:"ver"`
	WIDs     []string `json:"wids,omitempty"`
	XMSAzRID string   `json:"xms_az_rid,omitempty"`
	XMSCC    []string `json:"xms_cc,omitempty"`
	// XMSFICInfo is in tokens that a federated credential got; its content is
	// opaque. Undocumented, seen in public tokens.
	XMSFICInfo string `json:"xms_ficinfo,omitempty"`
	XMSIdRel   string `json:"xms_idrel,omitempty"`
	XMSMIRID   string `json:"xms_mirid,omitempty"`
	AppDisplay string `json:"app_displayname,omitempty"`
}

// Mint signs the claims after filling in what differs between two tokens for
// the same client: iat, nbf, exp, uti and aio.
func (s *Service) Mint(c Claims, lifetime time.Duration) (string, error) {
	key, err := s.key()
	if err != nil {
		return "", fmt.Errorf("make signing key: %w", err)
	}
	now := s.now()
	c.IssuedAt, c.NotBefore, c.Expires = now.Unix(), now.Unix(), now.Add(lifetime).Unix()
	c.UTI, c.AIO = token(16), token(24)
	payload, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	signed, err := key.signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("sign access token: %w", err)
	}
	return signed.CompactSerialize()
}

// Why a token is not accepted.
var (
	ErrInvalid = errors.New("the token is invalid")
	ErrExpired = errors.New("the token has expired")
)

// skew is what clocks may differ by.
const skew = 5 * time.Minute

// Verify checks signature and time of a token that this service minted. The
// audience is left to the caller.
func (s *Service) Verify(raw string) (Claims, error) {
	key, err := s.key()
	if err != nil {
		return Claims{}, fmt.Errorf("make signing key: %w", err)
	}
	parsed, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return Claims{}, ErrInvalid
	}
	payload, err := parsed.Verify(key.private.Public())
	if err != nil {
		return Claims{}, ErrInvalid
	}
	var c Claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return Claims{}, ErrInvalid
	}
	now := s.now()
	if now.After(time.Unix(c.Expires, 0)) {
		return c, ErrExpired
	}
	if now.Add(skew).Before(time.Unix(c.NotBefore, 0)) {
		return c, ErrInvalid
	}
	return c, nil
}

// JWKS is the public key set. issuer is written beside each key, as Entra does.
func (s *Service) JWKS(issuer string) (any, error) {
	key, err := s.key()
	if err != nil {
		return nil, fmt.Errorf("make signing key: %w", err)
	}
	public := key.private.public
	encode := base64.RawURLEncoding.EncodeToString
	return map[string]any{"keys": []map[string]any{{
		"kty": "RSA", "use": "sig", "kid": key.kid, "x5t": key.kid,
		"n": encode(public.N.Bytes()), "e": encode(big.NewInt(int64(public.E)).Bytes()),
		"x5c":    []string{base64.StdEncoding.EncodeToString(key.cert.Raw)},
		"issuer": issuer,
	}}}, nil
}

// PublicKeys verify tokens of this service.
func (s *Service) PublicKeys() (*jose.JSONWebKeySet, error) {
	key, err := s.key()
	if err != nil {
		return nil, err
	}
	return &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.private.Public(), KeyID: key.kid, Algorithm: string(jose.RS256), Use: "sig"}}}, nil
}

// token is n random bytes in base64url.
func token(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails since Go 1.24
	return base64.RawURLEncoding.EncodeToString(b)
}
