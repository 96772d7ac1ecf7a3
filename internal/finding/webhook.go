package finding

import (
	"fmt"

	"azwi/contract"
)

// What keeps the webhook from reading service accounts, and from managing its certificate.

// SecretMissing is a Secret (NAMESPACE/NAME) that the webhook shall keep its certificate in.
func SecretMissing(secret string) Finding {
	return found(CodeCertificateMissing, Subject{}, "create the Secret %s, empty, as the chart does", secret)
}

// ObjectNotGranted are verbs on an object (KIND NAME) that the webhook lacks.
func ObjectNotGranted(verbs, object string) Finding {
	return found(CodeClusterForbidden, Subject{}, "grant %s on the %s", verbs, object)
}

// WatchNotGranted is a webhook that has to look from time to time.
func WatchNotGranted() Finding {
	return found(CodeClusterForbidden, Subject{}, "grant watch, so that changes are seen at once instead of after minutes")
}

// AccountsNotGranted is a webhook that may not read service accounts.
func AccountsNotGranted() Finding {
	return found(CodeClusterForbidden, Subject{}, "the webhook may not read service accounts: its ClusterRole lacks get on serviceaccounts")
}

// PodAccountMissing is a pod whose service account is not there.
func PodAccountMissing() Finding {
	return found(CodeAccountMissing, Subject{}, "the pod's service account does not exist: create it first")
}

// NotInjected is a pod that a policy injected nothing into; its service account is
// NAMESPACE/NAME, and has to be labelled if the policies are to see it.
func NotInjected(account string, labelled bool) Finding {
	or := ""
	if labelled {
		or = fmt.Sprintf(", or without the label %s: %q", contract.UseLabel, contract.UseLabelValue)
	}
	return found(CodeAccountMissing, Subject{}, "workload identity was not injected: service account %s is not yet visible to admission, or gone%s; try again", account, or)
}

// RefusedByHand is the annotation of a policy for the next one, written by somebody else.
func RefusedByHand() Finding {
	return found(CodeMisplacedKey, Subject{Key: contract.RefusedAnnotation}, "annotation %s is for workload identity's own policies: remove it", contract.RefusedAnnotation)
}

const tryAgain = "try again in a second"

// WebhookBusy is a webhook with more to do than it has room for.
func WebhookBusy() Finding {
	return found(CodeWebhookBusy, Subject{}, "the workload identity webhook has too many pods to admit at once: %s", tryAgain)
}

// LargePods is a webhook whose memory large pods have taken.
func LargePods() Finding {
	return found(CodeWebhookBusy, Subject{}, "too many large pods to admit at once: %s", tryAgain)
}

// PatchTooLarge is a pod that would grow by more than most bytes.
func PatchTooLarge(most int) Finding {
	return found(CodePodTooLarge, Subject{}, "the values to inject are too long for this many containers: together they exceed %d bytes; "+
		"shorten the service account's annotations or make the pod smaller", most)
}

// AccountNotRead is an API server that did not answer the webhook in time.
func AccountNotRead() Finding {
	return found(CodeAccountNotRead, Subject{}, "the pod's service account could not be read in time: %s", tryAgain)
}

// CertificateContested is an object that another program keeps changing.
func CertificateContested() Finding {
	return found(CodeCertificateContested, Subject{}, "it is overwritten too often: check whether another program writes it, such as cert-manager's injector")
}
