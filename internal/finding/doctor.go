package finding

import (
	"fmt"
	"strings"

	"azwi/contract"
)

// What doctor sees on the way from a pod to its token. Names of objects come from the
// cluster, names of credentials from Azure.

// A Workload names what has a pod template, or a pod, in texts and commands.
type Workload struct{ Kind, Namespace, Name string }

func (w Workload) String() string { return w.Kind + " " + w.Namespace + "/" + w.Name }

// restart is the command that creates the pods again.
func (w Workload) restart() []string {
	switch w.Kind {
	case "Deployment", "StatefulSet", "DaemonSet":
		return []string{"kubectl", "rollout", "restart", strings.ToLower(w.Kind) + "/" + w.Name, "-n", w.Namespace}
	}
	return []string{"kubectl", "delete", strings.ToLower(w.Kind) + "/" + w.Name, "-n", w.Namespace}
}

// ObjectMissing is an object that doctor was to look at; the suggestion names the one that
// may be meant.
func ObjectMissing(object, suggestion string) Finding {
	return found(CodeObjectMissing, Subject{}, "%s does not exist%s", object, suggestion)
}

// PodIdentityInUse are bindings of aad-pod-identity.
func PodIdentityInUse(bindings int) Finding {
	return found(CodePodIdentity, Subject{}, "aad-pod-identity is in use: AzureIdentityBindings: %d; its NMI takes the requests of pods to the metadata service", bindings).
		mend("azwi", "podidentity", "detect")
}

// OptInMissing is a workload whose pods have no label; annotated says that their service
// account has a client ID.
func OptInMissing(w Workload, account string, annotated bool) Finding {
	but := ""
	if annotated {
		but = ", but their service account " + quote(account) + " has a client ID"
	}
	f := found(CodeLabelMissing, Subject{Key: contract.UseLabel},
		"the pods of %s lack the label %s: \"true\"%s: add the label to the pod template", w, contract.UseLabel, but)
	label := fmt.Sprintf(`{"metadata":{"labels":{"%s":"true"}}}`, contract.UseLabel)
	switch w.Kind {
	case "Deployment", "StatefulSet", "DaemonSet":
		return f.mend("kubectl", "patch", strings.ToLower(w.Kind)+"/"+w.Name, "-n", w.Namespace, "-p", `{"spec":{"template":`+label+`}}`)
	}
	return f
}

// OptInTooLate is a pod that has the label and was not injected: it is older than the
// installation, or than the label.
func OptInTooLate(w Workload, pod string) Finding {
	return found(CodePodWithoutIdentity, Subject{},
		"pod %s has no identity: it is older than the installation or than its label, and only new pods are injected", pod).mend(w.restart()...)
}

// StaleIdentity is a pod that was injected with a value that its service account does not
// have any more.
func StaleIdentity(w Workload, pod, variable, value, now string) Finding {
	return found(CodeStaleIdentity, Subject{},
		"pod %s has %s=%s, but a new pod gets %s: the service account was changed after the pod was created", pod, variable, quote(value), quote(now)).mend(w.restart()...)
}

// NamespaceExcluded is a namespace that the installation's selector leaves out.
func NamespaceExcluded(namespace, configuration, selector string) Finding {
	return found(CodeNamespaceExcluded, Subject{},
		"namespace %s is left out: the namespaceSelector of %s is %s; give the namespace these labels, or change the selector", namespace, configuration, selector)
}

// PodExcluded is a pod that the API server does not send to injection, although its
// namespace is selected.
func PodExcluded(configuration string) Finding {
	return found(CodePodExcluded, Subject{}, "the pod is left out by objectSelector or matchConditions of %s: compare them with the pod", configuration)
}

// WebhookSilent is a webhook that does not answer, and whose registration lets pods through.
func WebhookSilent(configuration string) Finding {
	return found(CodeWebhookSilent, Subject{}, "the webhook of %s does not answer, and its failurePolicy Ignore lets pods through without identity: look at its Deployment with azwi status", configuration)
}

// PolicyNotBound is a mutating policy that nothing binds, so that it injects nothing.
func PolicyNotBound(policy string) Finding {
	return found(CodePolicyNotBound, Subject{}, "the MutatingAdmissionPolicy %s has no binding, so it injects nothing", policy).mend("azwi", "upgrade")
}

// TwoInstallations are registrations of which each injects.
func TwoInstallations(names []string) Finding {
	return found(CodeTwoInstallations, Subject{}, "pods are injected more than once, by %s: remove all but one", strings.Join(names, ", "))
}

// ContainerSkipped is a container that asked to be left out.
func ContainerSkipped(container string) Finding {
	return found(CodeContainerSkipped, Subject{Key: contract.SkipContainersAnnotation, Container: container},
		"container %s gets no identity: the annotation %s names it", quote(container), contract.SkipContainersAnnotation)
}

// OtherClientID is a container that names an identity of its own.
func OtherClientID(container, own, account string) Finding {
	return found(CodeOtherClientID, Subject{Container: container},
		"container %s sets %s=%s itself, and the service account's is %s: remove the variable, or annotate the service account with this client ID",
		quote(container), contract.EnvClientID, quote(own), quote(account))
}

// OwnAuthority is a container that names a token service of its own.
func OwnAuthority(container, own, installed string) Finding {
	return found(CodeOwnAuthority, Subject{Container: container},
		"container %s sets %s=%s itself, and the cluster's is %s: remove the variable", quote(container), contract.EnvAuthorityHost, quote(own), quote(installed))
}

// NoClientID is a service account without a client ID, whose pods want one. The others
// (NAMESPACE/NAME) have one, and one of them may have been meant.
func NoClientID(namespace, account string, others []string) Finding {
	meant := ""
	if len(others) > 0 {
		const most = 3
		quoted := make([]string, min(len(others), most))
		for i := range quoted {
			quoted[i] = quote(others[i])
		}
		meant = "; or was another service account meant: " + strings.Join(quoted, ", ") + "?"
	}
	f := found(CodeClientIDMissing, Subject{Key: contract.ClientIDAnnotation},
		"service account %s/%s has no annotation %s: annotate it with the client ID of the identity%s", namespace, account, contract.ClientIDAnnotation, meant)
	f.command = shell("kubectl", "annotate", "serviceaccount", account, "-n", namespace) + " " + contract.ClientIDAnnotation + "=CLIENT_ID"
	return f
}

// IssuerUnreachable is an issuer whose documents can't be fetched from here.
func IssuerUnreachable(problem error) Finding {
	return found(CodeIssuerUnreachable, Subject{}, "the issuer's documents can't be fetched from here, and Entra must be able to: %v", problem)
}

// IssuerRedirected is an issuer that sends elsewhere, such as to a login page.
func IssuerRedirected(problem error) Finding {
	return found(CodeIssuerRedirected, Subject{}, "Entra follows no redirect: %v; publish the document itself, without a sign-in", problem)
}

// IssuerNotServed is an issuer whose documents are missing or are something else.
func IssuerNotServed(problem error) Finding {
	return found(CodeIssuerNotServed, Subject{}, "the issuer does not publish what it must: %v", problem)
}

// DocumentNotHTTPS is a document that is not at an https URL.
func DocumentNotHTTPS(address string) Finding {
	return found(CodeIssuerNotHTTPS, Subject{}, "Entra fetches documents over https only, and %s is another URL: change the issuer's URL, or jwks_uri", quote(address))
}

// IssuerNamesOther is a discovery document that names another issuer than the token.
func IssuerNamesOther(document, token string) Finding {
	return found(CodeIssuerNamesOther, Subject{}, "the discovery document names the issuer %s, but the token has %s: %s",
		quote(document), quote(token), Difference("the document", document, token))
}

// IssuerKeyMissing is a token whose key the issuer does not publish.
func IssuerKeyMissing(keyID string, published []string) Finding {
	has := "no key that Entra takes (RSA, 2048 bits or more)"
	if len(published) > 0 {
		quoted := make([]string, min(len(published), 4))
		for i := range quoted {
			quoted[i] = quote(published[i])
		}
		has = "the keys " + strings.Join(quoted, ", ")
	}
	return found(CodeIssuerKeyMissing, Subject{}, "the token is signed with the key %s, and the issuer publishes %s: publish what the API server serves at /openid/v1/jwks", quote(keyID), has)
}

// DirectoryForbidden is a caller who may not look for identities in the directory.
func DirectoryForbidden() Finding {
	return found(CodeDirectory, Subject{}, "you may not read the directory: ask for the role Directory Readers, or give --subscription-id with the right to read its managed identities")
}

// IdentityMissing is a client ID that no identity of the tenant has.
func IdentityMissing(clientID, tenant string) Finding {
	return found(CodeIdentityMissing, Subject{Key: contract.ClientIDAnnotation},
		"no identity in tenant %s has the client ID %s: it was deleted, created again with another client ID, or is in another tenant; correct the annotation %s",
		quote(tenant), clientID, contract.ClientIDAnnotation)
}

// ClientIDIsObjectID is an annotation with the wrong one of an identity's two GUIDs.
func ClientIDIsObjectID(namespace, account, objectID, clientID string) Finding {
	return found(CodeObjectID, Subject{Key: contract.ClientIDAnnotation},
		"%s is the object ID of an identity, not its client ID, which is %s", objectID, clientID).
		mend("kubectl", "annotate", "--overwrite", "serviceaccount", account, "-n", namespace, contract.ClientIDAnnotation+"="+clientID)
}

// OtherTenant is a service account, or an installation, that names another tenant than the
// one which has the identity.
func OtherTenant(namespace, account, named, tenant string) Finding {
	return found(CodeOtherTenant, Subject{Key: contract.TenantIDAnnotation}, "pods ask tenant %s for a token, and the identity is in tenant %s", quote(named), tenant).
		mend("kubectl", "annotate", "--overwrite", "serviceaccount", account, "-n", namespace, contract.TenantIDAnnotation+"="+tenant)
}

// PrincipalMissing is an application that does not exist as a principal of the tenant.
func PrincipalMissing(clientID string) Finding {
	return found(CodePrincipalMissing, Subject{}, "the application with client ID %s has no service principal in this tenant", clientID).
		mend("az", "ad", "sp", "create", "--id", clientID)
}

// A Wanted is the federated credential that the token of a service account needs, on the
// identity that is named as commands name it.
type Wanted struct {
	Namespace, Account        string
	Issuer, Subject, Audience string
	// ResourceID is a managed identity's, ClientID an application's.
	ResourceID, ClientID string
}

// create is the command that creates the credential.
func (w Wanted) create() []string {
	words := []string{
		"azwi", "serviceaccount", "create", "phase", "federated-identity",
		"--service-account", w.Namespace + "/" + w.Account, "--service-account-issuer-url", w.Issuer,
	}
	if w.Audience != contract.DefaultAudience {
		words = append(words, "--audience", w.Audience)
	}
	if w.ResourceID != "" {
		return append(words, "--managed-identity", w.ResourceID)
	}
	return append(words, "--aad-application-client-id", w.ClientID)
}

// CredentialMissing is an identity that has no credential like the wanted one.
func CredentialMissing(w Wanted, others int) Finding {
	has := fmt.Sprintf("none of the identity's %d federated credentials", others)
	if others < 2 {
		has = fmt.Sprintf("no federated credential of the identity (it has %d)", others)
	}
	return found(CodeCredentialMissing, Subject{}, "%s is for %s of issuer %s", has, w.Subject, quote(w.Issuer)).mend(w.create()...)
}

// CredentialSubject is a credential that differs in its subject alone.
func CredentialSubject(w Wanted, name, subject string) Finding {
	return found(CodeCredentialSubject, Subject{}, "the credential %s has the subject %s, and the token %s: %s", quote(name), quote(subject), quote(w.Subject), Difference("the credential", subject, w.Subject)).mend(w.create()...)
}

// CredentialIssuer is a credential that differs in its issuer alone.
func CredentialIssuer(w Wanted, name, issuer string) Finding {
	return found(CodeCredentialIssuer, Subject{}, "the credential %s has the issuer %s, and the token %s: %s", quote(name), quote(issuer), quote(w.Issuer), Difference("the credential", issuer, w.Issuer)).mend(w.create()...)
}

// CredentialAudience is a credential that differs in its audience alone.
func CredentialAudience(w Wanted, name, audience string) Finding {
	return found(CodeCredentialAudience, Subject{}, "the credential %s has the audience %s, and the token %s: %s", quote(name), quote(audience), quote(w.Audience), Difference("the credential", audience, w.Audience)).mend(w.create()...)
}

// CredentialsFull is an identity that has no room for the missing credential.
func CredentialsFull(w Wanted, most int) Finding {
	return found(CodeCredentialsFull, Subject{}, "the identity has no credential for %s, and %d of %d are used: remove one that is not needed, or use another identity", w.Subject, most, most)
}

// CredentialSpreads is a credential that is right, and that Entra does not know yet.
func CredentialSpreads(account string) Finding {
	return found(CodeCredentialSpreads, Subject{}, "the credential is right, but Entra does not use it yet: a new one needs some minutes to spread").
		mend("azwi", "wait", "--service-account", account)
}

// ExchangeRefused is Entra's answer to the token, for which no earlier check has the cause.
func ExchangeRefused(code int, description string, presented Presented) Finding {
	what := quote(description)
	if code != 0 {
		what = fmt.Sprintf("AADSTS%d", code)
	}
	advice := presented.Advice(code)
	if advice == "" {
		advice = "see docs/explain.md"
	}
	f := found(CodeExchangeRefused, Subject{}, "Entra answers %s: %s", what, advice)
	if code != 0 {
		return f.mend("azwi", "explain", fmt.Sprintf("AADSTS%d", code))
	}
	return f
}

// RoleNotAssigned is an identity that may not do what it shall, at a scope or, if that is
// empty, anywhere.
func RoleNotAssigned(principalID, scope string) Finding {
	f := found(CodeRoleNotAssigned, Subject{}, "the identity has no role assignment that the caller can see: Azure will refuse whatever it asks for")
	if scope != "" {
		f = found(CodeRoleNotAssigned, Subject{}, "the identity has no role assignment at %s, nor above it", quote(scope))
		f.command = shell("az", "role", "assignment", "create", "--assignee-object-id", principalID, "--assignee-principal-type", "ServicePrincipal", "--scope", scope) + " --role ROLE"
	}
	return f
}

// ProxyNotReady is a sidecar that does not serve.
func ProxyNotReady(namespace, pod, state string) Finding {
	return found(CodeProxyNotReady, Subject{}, "the proxy of pod %s is not ready: %s", pod, quote(state)).
		mend("kubectl", "logs", pod, "-n", namespace, "-c", contract.ProxyContainer)
}

// SeenInPod is an error code that an application or an event shows.
func SeenInPod(pod string, code int, presented Presented) Finding {
	return found(CodeSeenInPod, Subject{}, "pod %s shows AADSTS%d: %s", pod, code, presented.Advice(code)).mend("azwi", "explain", fmt.Sprintf("AADSTS%d", code))
}
