package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// ParsePublicKeys reads all RSA and EC public keys of a PEM file: blocks PUBLIC
// KEY, RSA PUBLIC KEY and CERTIFICATE, and of an RSA private key (RSA PRIVATE KEY,
// PRIVATE KEY) its public half. private reports that there was one: such a file
// belongs nowhere but on the API server.
func ParsePublicKeys(raw []byte) (keys []crypto.PublicKey, private bool, err error) {
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		var key crypto.PublicKey
		switch block.Type {
		case "PUBLIC KEY":
			key, err = x509.ParsePKIXPublicKey(block.Bytes)
		case "RSA PUBLIC KEY":
			key, err = x509.ParsePKCS1PublicKey(block.Bytes)
		case "CERTIFICATE":
			var certificate *x509.Certificate
			if certificate, err = x509.ParseCertificate(block.Bytes); err == nil {
				key = certificate.PublicKey
			}
		case "RSA PRIVATE KEY", "PRIVATE KEY":
			key, err = publicHalf(block)
			private = true
		default:
			return nil, false, fmt.Errorf("PEM block %q is not a public key: give the file that the API server's --service-account-key-file names, or make it with openssl pkey -pubout", block.Type)
		}
		if err != nil {
			return nil, false, fmt.Errorf("PEM block %q: %w", block.Type, err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, false, errors.New("the file has no public key in PEM form: name a file that the API server's --service-account-key-file names")
	}
	return keys, private, nil
}

// publicHalf is that of an RSA private key in PKCS #1 or PKCS #8.
func publicHalf(block *pem.Block) (crypto.PublicKey, error) {
	if block.Type == "RSA PRIVATE KEY" {
		key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		return key.Public(), nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("of private keys only RSA ones are read: make the public key with openssl pkey -pubout")
	}
	return key.Public(), nil
}

// KeySet is the JSON Web Key Set of the keys, each once. Key IDs are those that
// kube-apiserver gives: the SHA-256 of the key's DER form.
// Source: kubernetes/pkg/serviceaccount/jwt.go, keyIDFromPublicKey.
func KeySet(keys []crypto.PublicKey) (jose.JSONWebKeySet, error) {
	var set jose.JSONWebKeySet
	for _, key := range keys {
		algorithm, err := algorithmOf(key)
		if err != nil {
			return jose.JSONWebKeySet{}, err
		}
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			return jose.JSONWebKeySet{}, fmt.Errorf("public key: %w", err)
		}
		sum := sha256.Sum256(der)
		id := base64.RawURLEncoding.EncodeToString(sum[:])
		if slices.ContainsFunc(set.Keys, func(k jose.JSONWebKey) bool { return k.KeyID == id }) {
			continue
		}
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key, KeyID: id, Algorithm: string(algorithm), Use: "sig"})
	}
	return set, nil
}

func algorithmOf(key crypto.PublicKey) (jose.SignatureAlgorithm, error) {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return jose.RS256, nil
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256():
			return jose.ES256, nil
		case elliptic.P384():
			return jose.ES384, nil
		case elliptic.P521():
			return jose.ES512, nil
		}
		return "", fmt.Errorf("the curve %s is not supported", key.Params().Name)
	}
	return "", fmt.Errorf("keys of type %T are not supported: use RSA", key)
}
