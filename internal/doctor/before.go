package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"azwi/internal/finding"
	"azwi/internal/install"
	"azwi/internal/kube"
)

// The links of Before.
const (
	LinkCluster   LinkName = "cluster"
	LinkRights    LinkName = "rights"
	LinkLeftovers LinkName = "leftovers"
	LinkRegistry  LinkName = "registry"
)

// BeforeConfig says what is going to be installed.
type BeforeConfig struct {
	Cluster *kube.Client
	// Version is the images'. Required.
	Version string
	// Engine as in install.Config.
	Engine string
	// Registry has the images; its name is looked up. Optional.
	Registry string
	// LookupHost finds addresses. Default: the system's resolver.
	LookupHost func(ctx context.Context, host string) ([]string, error)
}

// Before looks at whether azwi can be installed into a cluster. It changes nothing. The
// error is an API server that does not answer.
func Before(ctx context.Context, c BeforeConfig) (*Report, error) {
	if c.LookupHost == nil {
		c.LookupHost = net.DefaultResolver.LookupHost
	}
	r := &Report{Subject: kube.Ref{Kind: "Cluster"}}
	var objects []install.Object
	var failed error
	for _, step := range []step{
		{LinkCluster, func(ctx context.Context, l *Link) { failed = c.cluster(ctx, l) }},
		{LinkInstallation, func(ctx context.Context, l *Link) { objects, failed = c.installation(ctx, l) }},
		{LinkRights, func(ctx context.Context, l *Link) { c.rights(ctx, l, objects) }},
		{LinkLeftovers, c.leftovers},
		{LinkRegistry, c.registry},
	} {
		link := Link{Name: step.name}
		if step.name != LinkCluster && r.Links[0].State != OK {
			notReached(&link, LinkCluster)
		} else {
			step.look(ctx, &link)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if failed != nil {
			return nil, failed
		}
		if link.State == "" {
			link.State = OK
		}
		r.Links = append(r.Links, link)
	}
	return r, nil
}

func (c BeforeConfig) cluster(ctx context.Context, l *Link) error {
	var version struct{ GitVersion string }
	if err := c.Cluster.Get(ctx, "/version", &version); err != nil {
		return l.orUnknown(err)
	}
	l.see("Kubernetes %s", version.GitVersion)
	if policies, err := c.Cluster.AtLeast(ctx, install.FirstWithPolicies); err == nil && policies {
		l.see("both engines can be installed: webhook and policy")
	}
	return nil
}

// installation renders what would be installed, which an installation that is there, or a
// version that is too old, refuses.
func (c BeforeConfig) installation(ctx context.Context, l *Link) ([]install.Object, error) {
	// Only who installs knows them.
	const anyTenant, anyRegistry = "00000000-0000-0000-0000-000000000000", "registry.invalid"
	objects, err := install.Objects(ctx, install.Config{
		Client: c.Cluster, Version: c.Version, Engine: c.Engine, Values: map[string]any{
			"azureTenantID": anyTenant, "global": map[string]any{"imageRegistry": cmp.Or(c.Registry, anyRegistry)},
		},
	}, false)
	refused, ok := errors.AsType[*finding.Failure](err)
	switch {
	case ok:
		l.because(refused.Finding)
	case err != nil:
		return nil, l.orUnknown(err)
	default:
		l.see("none is there; objects to create: %d", len(objects))
	}
	return objects, nil
}

// rights asks for the verbs that azwi install needs.
func (c BeforeConfig) rights(ctx context.Context, l *Link, objects []install.Object) {
	if len(objects) == 0 {
		notReached(l, LinkInstallation)
		return
	}
	type right struct{ verb, resource, namespace string }
	var all []right
	for _, o := range objects {
		ref := o.Ref()
		resource := ref.Plural()
		if group, _, named := strings.Cut(ref.APIVersion, "/"); named {
			resource += "." + group
		}
		for _, verb := range []string{"get", "create", "patch"} {
			if r := (right{verb, resource, ref.Namespace}); !slices.Contains(all, r) {
				all = append(all, r)
			}
		}
	}
	lacking := 0
	for _, r := range all {
		allowed, err := c.Cluster.May(ctx, r.verb, r.resource, r.namespace)
		if err != nil {
			l.unknown(err)
			return
		}
		if !allowed {
			lacking++
			l.because(finding.ClusterForbidden(r.verb, r.resource, r.namespace))
		}
	}
	l.see("verbs that azwi install needs: %d, lacking: %d", len(all), lacking)
}

// leftovers looks for aad-pod-identity, whose proxy takes the requests that azwi's should.
func (c BeforeConfig) leftovers(ctx context.Context, l *Link) {
	count := 0
	err := c.Cluster.List(ctx, kube.Ref{APIVersion: "aadpodidentity.k8s.io/v1", Kind: "AzureIdentityBinding"}, "", func(json.RawMessage) error {
		count++
		return nil
	})
	switch {
	case kube.IsNotFound(err) || err == nil && count == 0:
		l.see("none of aad-pod-identity's")
	case err != nil:
		l.unknown(err)
	default:
		l.because(finding.PodIdentityInUse(count))
	}
}

// registry looks its name up. Whether nodes reach it, and may pull, is not known from here.
func (c BeforeConfig) registry(ctx context.Context, l *Link) {
	host, _, _ := strings.Cut(c.Registry, "/")
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if host == "" {
		l.see("none was named: give --image-registry")
		return
	}
	addresses, err := c.LookupHost(ctx, host)
	if err != nil {
		l.unknown(fmt.Errorf("%w; the nodes may know the name nevertheless", err))
		return
	}
	l.see("%s is %s; whether the nodes may pull from it is not known from here", host, strings.Join(addresses, ", "))
}
