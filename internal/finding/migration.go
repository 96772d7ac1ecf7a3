package finding

import "azwi/contract"

// What keeps workloads from moving off aad-pod-identity, or is to be known when they do.
// Names come from the cluster, and were checked.

// PodIdentityMissing is a cluster without aad-pod-identity's kinds.
func PodIdentityMissing() Finding {
	return found(CodePodIdentityMissing, Subject{}, "this cluster does not know AzureIdentity and AzureIdentityBinding: aad-pod-identity is not installed in it")
}

// WorkloadsNotListable are those of a kind (in plural) that the user may not list.
func WorkloadsNotListable(plural string, problem error) Finding {
	return found(CodeNotListable, Subject{}, "%s can't be listed, so those that have no pods now are not found: %v", plural, problem)
}

// ControllerUnknown is a controller of pods that azwi does not know; the label (KEY=VALUE)
// is what binds them.
func ControllerUnknown(label string) Finding {
	return found(CodeControllerUnknown, Subject{},
		"azwi does not know this kind: add the label %s: %q and the annotation %s: \"true\" to its pod template, and a service account with the client ID of the AzureIdentity that %s selects",
		contract.UseLabel, contract.UseLabelValue, contract.InjectProxyAnnotation, label)
}

// NothingBound is a workload whose label (KEY=VALUE) no binding selects.
func NothingBound(label string) Finding {
	return found(CodeNothingBound, Subject{}, "no AzureIdentityBinding with an AzureIdentity that has a client ID selects %s", label)
}

// SeveralIdentities is a workload (KIND NAMESPACE/NAME) that another AzureIdentity is bound
// to as well.
func SeveralIdentities(workload, other, clientID string) Finding {
	return found(CodeSeveralIdentities, Subject{},
		"%s has AzureIdentity %s too: federate it with the same service account, and requests that name its client ID %s get its tokens", workload, other, clientID)
}

// NoPodTemplate is a workload without pods.
func NoPodTemplate() Finding { return found(CodeUnreadable, Subject{}, "it has no pod template") }

// OfWorkload is what injection says of a workload (KIND NAMESPACE/NAME).
func OfWorkload(workload string, f Finding) Finding {
	f.text = workload + ": " + f.text
	return f
}

const ownAccount = "give it a service account of its own"

// AccountNamesTaken is a workload of the account default for which no name is left.
func AccountNamesTaken() Finding {
	return found(CodeAccountTaken, Subject{}, "it uses the service account default, and there are accounts named after it already: %s", ownAccount)
}

// AccountShared is a service account of two workloads with different identities.
func AccountShared(account, clientID, needed string) Finding {
	return found(CodeAccountTaken, Subject{}, "its service account %s has the client ID %s for another workload, and this one needs %s: %s", account, clientID, needed, ownAccount)
}

// AccountOfOther is a service account that has another client ID already.
func AccountOfOther(account, clientID, identity, other string) Finding {
	return found(CodeAccountTaken, Subject{}, "its service account %s has the client ID %s already, and AzureIdentity %s has %s: settle which is right", account, clientID, identity, other)
}
