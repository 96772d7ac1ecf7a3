package finding

import "strings"

// What gives an identity to more than need be.

// IdentityShared is an identity that the service accounts of several namespaces become.
func IdentityShared(clientID string, namespaces []string) Finding {
	const most = 5
	names := strings.Join(namespaces[:min(len(namespaces), most)], ", ")
	return found(CodeIdentityShared, Subject{}, "the identity %s is that of service accounts in %d namespaces (%s): whoever may act in one of them has it; give each its own", clientID, len(namespaces), names)
}

// CredentialUnused is a credential of this cluster for a service account that does not
// exist: whoever creates one of that name gets the identity.
func CredentialUnused(name, subject string) Finding {
	return found(CodeCredentialUnused, Subject{}, "the credential %s is for %s, which does not exist: whoever creates a service account of that name has the identity; remove the credential", quote(name), quote(subject))
}

// SubjectWide is a flexible credential, whose expression may match many subjects.
func SubjectWide(name string) Finding {
	return found(CodeSubjectWide, Subject{}, "the credential %s matches subjects by an expression: check that it matches no more than is meant", quote(name))
}

// TokenLongLived is a service account whose tokens for Entra live long.
func TokenLongLived(seconds int) Finding {
	return found(CodeTokenLongLived, Subject{}, "its tokens for Entra are good for %d s: a stolen one is good as long; an hour is enough, since kubelet renews them", seconds)
}

// CanActAs is somebody who can act as a service account, in each of the ways.
func CanActAs(subject string, ways []string) Finding {
	return found(CodeCanActAs, Subject{}, "%s can act as it: %s", subject, strings.Join(ways, ", "))
}

// IMDSReachable is a namespace whose pods with an identity can ask the node's metadata
// service, too.
func IMDSReachable(pods int) Finding {
	return found(CodeIMDSReachable, Subject{}, "running pods whose egress no NetworkPolicy limits: %d; they reach 169.254.169.254, and may get tokens of the node's identities", pods)
}
