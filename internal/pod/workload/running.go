package workload

import (
	"cmp"
	"strings"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/guid"
)

// A Running pod is the part of a pod that tells whether it has what its service account
// says, and how it is.
type Running struct {
	Metadata struct {
		Name, Namespace, UID string
		Labels, Annotations  map[string]string
		OwnerReferences      []Owner
	}
	Spec   PodSpec
	Status struct {
		Phase                                    string
		ContainerStatuses, InitContainerStatuses []ContainerStatus
	}
}

// An Owner of an object; the controller made it.
type Owner struct {
	APIVersion, Kind, Name string
	Controller             bool
}

// A ContainerStatus is how a container is.
type ContainerStatus struct {
	Name         string
	Ready        bool
	RestartCount int64
	State        ContainerState
	LastState    ContainerState
}

// A ContainerState has what a container waits for, or how it ended.
type ContainerState struct {
	Waiting    *struct{ Reason, Message string }
	Terminated *struct {
		Reason, Message string
		ExitCode        int64
	}
}

// Runs reports whether the pod still uses its identity.
func (p Running) Runs() bool {
	_, mirror := p.Metadata.Annotations[contract.MirrorPodAnnotation]
	return !mirror && p.Status.Phase != "Succeeded" && p.Status.Phase != "Failed"
}

// OptsIn reports whether the pod has the label.
func (p Running) OptsIn() bool {
	return p.Metadata.Labels[contract.UseLabel] == contract.UseLabelValue
}

// Account is the name of the pod's service account.
func (p Running) Account() string { return cmp.Or(p.Spec.ServiceAccountName, "default") }

// Workload is what the pod's controller is, as far as the pod says: a Deployment's
// ReplicaSet ends in the hash that the pod has as a label.
func (p Running) Workload() finding.Workload {
	w := finding.Workload{Kind: "Pod", Namespace: p.Metadata.Namespace, Name: p.Metadata.Name}
	for _, o := range p.Metadata.OwnerReferences {
		if !o.Controller {
			continue
		}
		w.Kind, w.Name = o.Kind, o.Name
		if hash := p.Metadata.Labels["pod-template-hash"]; o.Kind == "ReplicaSet" && hash != "" {
			if name, ok := strings.CutSuffix(o.Name, "-"+hash); ok {
				w.Kind, w.Name = "Deployment", name
			}
		}
	}
	return w
}

// Judge compares a running pod with the client ID of its service account. known is false
// where that could not be read.
func (p Running) Judge(clientID string, known bool) (f finding.Finding, wrong bool) {
	marked := p.Metadata.Annotations[contract.InjectedForAnnotation] != ""
	switch has := p.Spec.Env(contract.EnvClientID); {
	case p.OptsIn() && !p.Spec.Injected():
		return finding.OptInTooLate(p.Workload(), p.Metadata.Name), true
	case !known:
	case !p.OptsIn() && !p.Spec.Injected() && guid.Valid(clientID):
		return finding.OptInMissing(p.Workload(), p.Account(), true), true
	case p.Spec.Injected() && clientID == "" && has == "":
		return finding.NoClientID(p.Metadata.Namespace, p.Account(), nil), true
	case p.Spec.Injected() && marked && clientID != "" && has != clientID:
		return finding.StaleIdentity(p.Workload(), p.Metadata.Name, contract.EnvClientID, has, clientID), true
	}
	return finding.Finding{}, false
}
