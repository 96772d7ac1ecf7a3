package finding

import (
	"fmt"
	"strconv"

	"azwi/contract"
)

// What lint finds in manifests, beside what injection says.

// Unreadable is a pod of which injection could read nothing; the problem is its own.
func Unreadable(problem error) Finding { return found(CodeUnreadable, Subject{}, "%v", problem) }

// NotManifest is something without apiVersion or kind.
func NotManifest() Finding {
	return found(CodeNotManifest, Subject{}, "not a Kubernetes object, because apiVersion or kind is missing: nothing in it can be checked")
}

// HelmTemplates is a chart whose templates are not rendered.
func HelmTemplates(chart string) Finding {
	return found(CodeHelmTemplates, Subject{},
		"these are templates of a Helm chart and were not checked: helm template %s | azwi lint -f - --rendered", chart)
}

// Placeholders are values that are still to be filled in.
func Placeholders(count int) Finding {
	what := "a value is a placeholder and was not checked"
	if count > 1 {
		what = fmt.Sprintf("%d values are placeholders and were not checked", count)
	}
	return found(CodePlaceholder, Subject{},
		"%s: fill in values with --set NAME=VALUE or --env-file FILE, or lint what your tool renders with --rendered", what)
}

// PlaceholderLeft is a placeholder that should have been filled in.
func PlaceholderLeft(text string) Finding {
	return found(CodePlaceholder, Subject{}, "%s is still a placeholder: no value was supplied for it", quote(text))
}

// DuplicateKey is a key that hides another.
func DuplicateKey(key string) Finding {
	return found(CodeDuplicateKey, Subject{Key: key},
		"key %s occurs earlier in the same mapping: only this one counts, and the value of the other is lost", strconv.Quote(key))
}

// NotString is a label or annotation of ours whose value is not a string.
func NotString(key, meant string) Finding {
	return found(CodeNotString, Subject{Key: key},
		"the value of %s must be a string, or the API server refuses the object: write %s", key, strconv.Quote(meant))
}

// LabelNotOnPod is the label that opts in on a workload, where nothing reads it; it
// belongs into the labels of where.
func LabelNotOnPod(kind, where string) Finding {
	return found(CodeLabelNotOnPod, Subject{Key: contract.UseLabel},
		"the label %s has no effect on a %s: put it into the labels of %s", contract.UseLabel, kind, where)
}

// LabelValue is the label that opts in with another value than true.
func LabelValue(value string) Finding {
	return found(CodeLabelValue, Subject{Key: contract.UseLabel},
		"label %s is %s: only %q opts in", contract.UseLabel, quote(value), contract.UseLabelValue)
}

// LabelMissing is a service account with a client ID whose pods do not opt in. The
// account's name may be unknown, and the path to the pods' labels obvious; then they are
// empty.
func LabelMissing(account, path string) Finding {
	who := "the service account gets a client ID"
	if account != "" {
		who = "service account " + quote(account) + " has a client ID"
	}
	at := ""
	if path != "" {
		at = " (" + path + ")"
	}
	return found(CodeLabelMissing, Subject{}, "%s, but the pods lack the label %s: %q%s, so they do not get it",
		who, contract.UseLabel, contract.UseLabelValue, at)
}

// KindUnknown is a key of ours in the labels or annotations (part) of a kind that azwi
// does not know.
func KindUnknown(kind, part string) Finding {
	return found(CodeKindUnknown, Subject{}, "azwi doesn't know whether pods of a %s get its %s: describe the kind with --kinds", kind, part)
}

const leftAsIs = "left unchanged: "

// TemplateUnknown is a kind whose pods opt in, and that has no pod template where azwi knows
// of one.
func TemplateUnknown() Finding {
	return found(CodeKindUnknown, Subject{Key: contract.UseLabel},
		leftAsIs+"azwi knows no pod template in this kind; the webhook injects into the pods that it makes, and --kinds tells where a template is")
}

// OtherDocument is something else than an object, in a folder of manifests.
func OtherDocument() Finding {
	return found(CodeNotManifest, Subject{}, leftAsIs+"not a Kubernetes object, because apiVersion or kind is missing")
}

// KustomizationLabels are a Kustomization's labels that no pod template gets.
func KustomizationLabels() Finding {
	return found(CodeKustomization, Subject{Key: contract.UseLabel},
		"without includeTemplates: true Kustomize adds the label %s to no pod template, and it has no effect elsewhere", contract.UseLabel)
}

// KustomizationKey is a misplaced key in a Kustomization.
func KustomizationKey(misplaced Finding) Finding {
	return Finding{CodeKustomization, misplaced.text, misplaced.subject, ""}
}

// TenantID is a tenant that is neither a GUID nor a domain.
func TenantID(tenant string) Finding {
	return found(CodeTenantID, Subject{Key: contract.TenantIDAnnotation},
		"annotation %s is %s: use the tenant's ID, a GUID, or a domain of it", contract.TenantIDAnnotation, quote(tenant))
}

// AccountUnknown is a service account (NAMESPACE/NAME) that is not in the input.
func AccountUnknown(account string) Finding {
	return found(CodeAccountUnknown, Subject{}, "service account %s is not in the input: its annotations were not checked", quote(account))
}

// AccountMisplaced is the name of a service account at a key where it is not read.
func AccountMisplaced(key, name string) Finding {
	return found(CodeAccountMisplaced, Subject{},
		"%s is not where the API server reads it, so the pod runs as default: write serviceAccountName: %s into the spec of the pod", key, quote(name))
}

// AccountMisspelt is the name of a service account at a key that is not how the API
// server spells it.
func AccountMisspelt(key, name string) Finding {
	return found(CodeAccountMisplaced, Subject{},
		"%s is not how the API server spells it, so the pod runs as default: write serviceAccountName: %s into the spec of the pod", key, quote(name))
}

// SubPath is a mount of the token by subPath or subPathExpr (key).
func SubPath(key, volume string) Finding {
	return found(CodeSubPath, Subject{},
		"a mount by %s is never updated, so the application loses its token when that expires: mount the whole volume %s, and name the file by its path in there",
		key, quote(volume))
}

// TokenVolume is a mount of the token volume of upstream v1.5.1.
func TokenVolume() Finding {
	return found(CodeTokenPath, Subject{},
		"volume %s is not there with the token path v1.6.0, and the API server refuses a mount without its volume: remove the mount, or run the webhook with --token-path=both",
		contract.LegacyVolume)
}

// TokenPath is the token path of upstream v1.5.1 in a container.
func TokenPath() Finding {
	return found(CodeTokenPath, Subject{},
		"the token is not at %s with the token path v1.6.0: read %s instead of a fixed path, or run the webhook with --token-path=both",
		contract.LegacyMountPath, contract.EnvFederatedTokenFile)
}

// ClientSecret is a container with a secret in its environment.
func ClientSecret(container, variable string) Finding {
	return found(CodeClientSecret, Subject{Container: container},
		"container %s sets %s: Azure's SDKs sign in with it instead of workload identity; remove it", quote(container), variable)
}

// OwnTokenFile is a container that uses the token for the API server.
func OwnTokenFile(container, variable string) Finding {
	return found(CodeOwnTokenFile, Subject{Container: container},
		"container %s sets %s to the token for the API server, which Entra refuses: use the file that the webhook's own %s names",
		quote(container), variable, contract.EnvFederatedTokenFile)
}

// PodIdentityKind is an object of aad-pod-identity.
func PodIdentityKind(kind string) Finding {
	return found(CodePodIdentity, Subject{},
		"aad-pod-identity is retired, and workload identity does not read its %s: azwi podidentity detect writes the replacement", kind)
}

// PodIdentityLabel is a label of aad-pod-identity.
func PodIdentityLabel(label string) Finding {
	return found(CodePodIdentity, Subject{Key: label},
		"label %s is aad-pod-identity's and has no effect in workload identity: azwi podidentity detect writes the replacement", label)
}

// IssuerNotHTTPS is an issuer that is not an https URL.
func IssuerNotHTTPS(issuer string) Finding {
	return found(CodeIssuer, Subject{}, "issuer %s is not an https URL: write it as the cluster's discovery document has it", quote(issuer))
}

// IssuerWithoutSlash is an issuer of AKS without its trailing slash.
func IssuerWithoutSlash(issuer string) Finding {
	return found(CodeIssuer, Subject{}, "issuer %s lacks the trailing slash of AKS issuers: Entra compares byte by byte", quote(issuer))
}

// IssuerTwice is an issuer that another position spells in another way.
func IssuerTwice(issuer, other, position string) Finding {
	return found(CodeIssuer, Subject{}, "issuer %s is %s at %s: Entra compares byte by byte, so one of them is wrong", quote(issuer), quote(other), position)
}

// NotAccountSubject is a subject that no service account has.
func NotAccountSubject(subject string) Finding {
	return found(CodeSubject, Subject{}, "subject %s is not a service account's: write %sNAMESPACE:NAME", quote(subject), contract.SubjectPrefix)
}
