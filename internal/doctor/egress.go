package doctor

import (
	"context"
	"encoding/json"
	"maps"
	"net/netip"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"azwi/internal/finding"
	"azwi/internal/kube"
	"azwi/internal/pod/workload"
)

// auditEgress counts the pods of each namespace that no NetworkPolicy keeps from the node's
// metadata service. A pod on the host's network is beyond all policies.
// Source: https://kubernetes.io/docs/concepts/services-networking/network-policies/
func (d *Doctor) auditEgress(ctx context.Context, namespace string, pods []workload.Running, s *Survey) error {
	selectors := map[string][]labels.Selector{}
	err := d.config.Cluster.List(ctx, kube.Ref{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy", Namespace: namespace}, "", func(raw json.RawMessage) error {
		var o struct {
			Metadata struct{ Namespace string }
			Spec     struct {
				PodSelector metav1.LabelSelector
				PolicyTypes []string
				Egress      []egressRule
			}
		}
		if err := json.Unmarshal(raw, &o); err != nil {
			return err
		}
		if !slices.Contains(o.Spec.PolicyTypes, "Egress") || slices.ContainsFunc(o.Spec.Egress, reachesIMDS) {
			return nil
		}
		selector, err := metav1.LabelSelectorAsSelector(&o.Spec.PodSelector)
		selectors[o.Metadata.Namespace] = append(selectors[o.Metadata.Namespace], selector)
		return err
	})
	if err != nil {
		return err
	}
	open := map[string]int{}
	for _, p := range pods {
		of := p.Metadata.Namespace
		if p.Spec.HostNetwork || !slices.ContainsFunc(selectors[of], func(s labels.Selector) bool { return s.Matches(labels.Set(p.Metadata.Labels)) }) {
			open[of]++
		}
	}
	for _, of := range slices.Sorted(maps.Keys(open)) {
		s.add("namespace "+of, open[of], finding.IMDSReachable(open[of]))
	}
	return nil
}

// reachesIMDS reports whether a rule for egress allows the metadata service's address.
// Destinations by labels are pods.
func reachesIMDS(r egressRule) bool {
	return len(r.To) == 0 || slices.ContainsFunc(r.To, func(peer egressPeer) bool {
		return covers(peer.IPBlock.CIDR) && !slices.ContainsFunc(peer.IPBlock.Except, covers)
	})
}

// covers reports whether a network has the address of the metadata service.
// Source: https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service
func covers(cidr string) bool {
	network, err := netip.ParsePrefix(cidr)
	return err == nil && network.Contains(netip.AddrFrom4([4]byte{169, 254, 169, 254}))
}

// An egressRule says where pods may connect to; no destination is any.
type egressRule struct{ To []egressPeer }

type egressPeer struct {
	IPBlock struct {
		CIDR   string
		Except []string
	}
}
