package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/kube"
	"azwi/internal/pod/workload"
)

// proxy looks at the sidecars of the running pods.
func (x *examination) proxy(_ context.Context, l *Link) {
	used := x.expected != nil && slices.ContainsFunc(x.expected.Spec.All(), isProxy)
	ready, all := 0, 0
	for _, p := range x.subject.pods {
		for _, c := range slices.Concat(p.Status.ContainerStatuses, p.Status.InitContainerStatuses) {
			if c.Name != contract.ProxyContainer {
				continue
			}
			if all++; c.Ready {
				ready++
				continue
			}
			if doing := state(c); doing != "" {
				l.because(finding.ProxyNotReady(p.Metadata.Namespace, p.Metadata.Name, doing))
			}
		}
	}
	switch {
	case all > 0:
		l.see("ready: %d of %d", ready, all)
	case used:
		l.see("asked for; no pod runs it yet")
	default:
		l.see("not used")
	}
}

func isProxy(c workload.Container) bool { return c.Name == contract.ProxyContainer }

// state says what a container does that is not ready; empty if it starts.
func state(c workload.ContainerStatus) string {
	switch {
	case c.State.Waiting != nil && c.State.Waiting.Reason != "ContainerCreating" && c.State.Waiting.Reason != "PodInitializing":
		text := c.State.Waiting.Reason
		if t := c.LastState.Terminated; t != nil {
			text += fmt.Sprintf(", last exit code %d %s", t.ExitCode, strings.TrimSpace(t.Message))
		}
		return text
	case c.State.Terminated != nil:
		return fmt.Sprintf("it ended with exit code %d %s", c.State.Terminated.ExitCode, strings.TrimSpace(c.State.Terminated.Message))
	}
	return ""
}

// events looks for Entra's error codes in what the pods left: messages of their containers
// and events.
func (x *examination) events(ctx context.Context, l *Link) {
	seen := map[int]bool{}
	look := func(pod, text string) {
		pasted := finding.ReadPasted(text)
		for _, code := range pasted.AADSTS {
			if !seen[code] {
				seen[code] = true
				x.seen(l, pod, code, pasted.Presented)
			}
		}
	}
	names := map[string]bool{}
	for _, p := range x.subject.pods {
		names[p.Metadata.Name] = true
		for _, c := range slices.Concat(p.Status.ContainerStatuses, p.Status.InitContainerStatuses) {
			for _, state := range []workload.ContainerState{c.State, c.LastState} {
				if state.Terminated != nil {
					look(p.Metadata.Name, state.Terminated.Message)
				}
				if state.Waiting != nil {
					look(p.Metadata.Name, state.Waiting.Message)
				}
			}
		}
	}
	count := 0
	err := x.Cluster.List(ctx, kube.Ref{APIVersion: "v1", Kind: "Event", Namespace: x.subject.namespace}, "", func(raw json.RawMessage) error {
		var e struct {
			InvolvedObject struct{ Kind, Name string }
			Message        string
		}
		if err := json.Unmarshal(raw, &e); err != nil {
			return err
		}
		of := e.InvolvedObject.Name
		if names[of] || of == x.subject.named.Name || of == x.subject.account {
			count++
			look(cmp.Or(of, x.subject.named.Name), e.Message)
		}
		return nil
	})
	if err != nil {
		l.unknown(err)
		return
	}
	l.see("events: %d", count)
}

// seen adds a code that the pod shows, unless the trial exchange met it too.
func (x *examination) seen(l *Link, pod string, code int, presented finding.Presented) {
	if x.report.Link(LinkExchange).State == Wrong {
		l.see("pod %s shows AADSTS%d", pod, code)
		return
	}
	l.because(finding.SeenInPod(pod, code, presented))
}
