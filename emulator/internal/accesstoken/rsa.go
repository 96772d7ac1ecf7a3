package accesstoken

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"math/big"
)

// An rsaKey has a modulus of 2048 bits like any RSA key of Entra's, but of four
// primes (RFC 8017 section 3.2). With four a signature takes a third of the time
// that crypto/rsa needs with two, and the signature is most of a token request.
//
// The arithmetic is math/big's, whose time depends on the key. Both would be
// wrong for a key that guards something; this one vouches for nothing outside of
// the emulator.
type rsaKey struct {
	public rsa.PublicKey
	parts  []rsaPart
}

// An rsaPart is a prime with what the Chinese remainder theorem wants of it.
type rsaPart struct {
	prime *big.Int
	// exponent is the private exponent modulo prime-1.
	exponent *big.Int
	// before is the product of the primes before this one, inverse that product's
	// inverse modulo prime. Of the first prime neither is used.
	before, inverse *big.Int
}

const (
	keyBits    = 2048
	keyPrimes  = 4
	publicExpo = 65537
)

// generateRSA makes a key.
func generateRSA() (*rsaKey, error) {
	for {
		var primes []*big.Int
		for range keyPrimes {
			p, err := rand.Prime(rand.Reader, keyBits/keyPrimes)
			if err != nil {
				return nil, err
			}
			primes = append(primes, p)
		}
		// Now and then the product is a bit short or two primes don't fit.
		if key, err := newRSA(primes); err == nil {
			return key, nil
		}
	}
}

// newRSA makes the key of these primes.
func newRSA(primes []*big.Int) (*rsaKey, error) {
	key := &rsaKey{public: rsa.PublicKey{N: big.NewInt(1), E: publicExpo}}
	e, one := big.NewInt(publicExpo), big.NewInt(1)
	for _, p := range primes {
		if p == nil || p.Sign() <= 0 || !p.ProbablyPrime(20) {
			return nil, errors.New("not a prime")
		}
		part := rsaPart{
			prime: p, exponent: new(big.Int).ModInverse(e, new(big.Int).Sub(p, one)),
			before: new(big.Int).Set(key.public.N), inverse: new(big.Int).ModInverse(key.public.N, p),
		}
		if part.exponent == nil || part.inverse == nil {
			return nil, errors.New("the primes make no key")
		}
		key.parts = append(key.parts, part)
		key.public.N.Mul(key.public.N, p)
	}
	if key.public.N.BitLen() != keyBits {
		return nil, fmt.Errorf("the modulus has %d bits", key.public.N.BitLen())
	}
	return key, nil
}

// Public is the public key.
func (k *rsaKey) Public() crypto.PublicKey { return &k.public }

// digestInfo begins a SHA-256 digest in a signature (RFC 8017 section 9.2).
const digestInfo = "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"

// Sign makes a signature of PKCS #1 version 1.5 over a SHA-256 digest, as RS256
// is (RFC 8017 section 8.2.1).
func (k *rsaKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if _, pss := opts.(*rsa.PSSOptions); pss || opts.HashFunc() != crypto.SHA256 || len(digest) != crypto.SHA256.Size() {
		return nil, errors.New("the key signs RS256 only")
	}
	message := make([]byte, keyBits/8)
	tail := len(message) - len(digestInfo) - len(digest)
	message[1] = 1
	for i := 2; i < tail-1; i++ {
		message[i] = 0xff
	}
	copy(message[tail:], digestInfo)
	copy(message[tail+len(digestInfo):], digest)

	m := new(big.Int).SetBytes(message)
	var s big.Int
	for i, part := range k.parts {
		r := new(big.Int).Exp(new(big.Int).Mod(m, part.prime), part.exponent, part.prime)
		if i == 0 {
			s.Set(r)
			continue
		}
		// Garner's formula: s += before * ((r - s) * inverse mod prime).
		r.Sub(r, &s)
		r.Mul(r, part.inverse)
		r.Mod(r, part.prime)
		s.Add(&s, r.Mul(r, part.before))
	}
	return s.FillBytes(message), nil
}

// primes are what the key is made of.
func (k *rsaKey) primes() []*big.Int {
	var out []*big.Int
	for _, p := range k.parts {
		out = append(out, p.prime)
	}
	return out
}
