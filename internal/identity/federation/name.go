package federation

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"azwi/contract"
)

// ParseSubject is the opposite of contract.Subject; ok is false for other subjects.
func ParseSubject(subject string) (namespace, account string, ok bool) {
	rest, ok := strings.CutPrefix(subject, contract.SubjectPrefix)
	if !ok {
		return "", "", false
	}
	namespace, account, ok = strings.Cut(rest, ":")
	if !ok || !validNamespace(namespace) || !validAccount(account) {
		return "", "", false
	}
	return namespace, account, true
}

// ApplicationName is the display name of the application that upstream's azwi
// makes for a service account.
func ApplicationName(namespace, account, issuer string) string {
	return namespace + "-" + account + "-" + encode(sha256.Sum256([]byte(issuer)))
}

// CredentialName is the name of a service account's credential on an
// application, as upstream's azwi gives it. It ends in "=" and may begin with "-"
// or "_".
func CredentialName(namespace, account, issuer string) string {
	return encode(credentialHash(namespace, account, issuer))
}

// ManagedCredentialName is the name of a service account's credential on a
// managed identity. Resource Manager refuses some characters of CredentialName.
func ManagedCredentialName(namespace, account, issuer string) string {
	hash := credentialHash(namespace, account, issuer)
	return hex.EncodeToString(hash[:])
}

func credentialHash(namespace, account, issuer string) [sha256.Size]byte {
	return sha256.Sum256([]byte(namespace + "-" + account + "-" + issuer))
}

func encode(hash [sha256.Size]byte) string { return base64.URLEncoding.EncodeToString(hash[:]) }

// validNamespace and validAccount hold Kubernetes' rules for these names: a label
// of at most 63 characters, and a subdomain of at most 253.
// Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
func validNamespace(name string) bool { return len(name) <= 63 && validLabel(name) }

func validAccount(name string) bool {
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if !validLabel(label) {
			return false
		}
	}
	return true
}

func validLabel(label string) bool {
	for _, c := range []byte(label) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return label != "" && label[0] != '-' && label[len(label)-1] != '-'
}
