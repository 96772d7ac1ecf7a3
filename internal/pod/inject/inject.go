package inject

import (
	"fmt"
	"slices"
	"strings"

	"azwi/contract"
	"azwi/internal/finding"
)

// A Result is what to do with a pod.
type Result struct {
	// Patch is the change as a JSON patch. Empty: leave the pod as it is.
	Patch []Op
	// Warnings are for the pod's creator; the pod is created all the same.
	Warnings []finding.Finding
	// Denial is not nil where the pod must not be created.
	Denial *finding.Finding
}

// Inject decides what to change in the pod, whose service account is account. A
// pod that has not opted in is left alone.
func (p *Pod) Inject(account Account, settings Settings) Result {
	if !p.OptedIn() {
		return Result{}
	}
	in := injection{
		pod:      p,
		account:  account,
		settings: settings.withDefaults(),
		skip:     p.skipped(),
		custom:   p.customTokenEndpoint(settings),
	}
	var proxyWarning *finding.Finding
	if in.proxy, proxyWarning = p.wantsProxy(); in.proxy {
		in.proxyMode = in.annotation(contract.ProxyModeAnnotation)
	}
	if denial := in.readValues(); denial != nil {
		return Result{Denial: denial}
	}
	res := Result{Patch: in.patch(), Warnings: in.warnings()}
	if proxyWarning != nil {
		res.Warnings = append(res.Warnings, *proxyWarning)
	}
	return res
}

// injection is one pod's injection under way.
type injection struct {
	pod        *Pod
	account    Account
	settings   Settings
	skip       map[string]bool
	custom     bool   // the pod uses the custom token endpoint
	proxy      bool   // the pod asks for the proxy
	expiration int64  // seconds
	proxyMode  string // of a pod that asks for the proxy, else empty
	proxyPort  int64
	identities []string // ID=CLIENT_ID, for the proxy
	allowed    []string // client IDs, for the proxy
}

// usesClientID reports whether the account's client ID goes into a container.
func (in *injection) usesClientID() bool {
	if in.clientID() == "" {
		return false
	}
	uses := in.proxy && !in.pod.hasContainer(contract.ProxyContainer)
	in.targets(func(_ string, _ int, c podContainer) { uses = uses || !c.sets(contract.EnvClientID) })
	return uses
}

// targets calls f for the containers to complete.
func (in *injection) targets(f func(list string, index int, c podContainer)) {
	in.pod.containers(func(list string, index int, c podContainer) {
		if !in.skip[c.Name] && c.Name != contract.ProxyInitContainer {
			f(list, index, c)
		}
	})
}

func (in *injection) patch() []Op {
	var ops []Op
	in.targets(func(list string, index int, c podContainer) {
		env, mounts := in.complete(c)
		path := fmt.Sprintf("/spec/%s/%d", list, index)
		if c.refersTo(env) {
			ops = append(ops, prependOps(path+"/env", len(c.Env), env)...)
		} else {
			ops = append(ops, appendOps(path+"/env", len(c.Env), env)...)
		}
		ops = append(ops, appendOps(path+"/volumeMounts", len(c.VolumeMounts), mounts)...)
	})
	ops = append(ops, in.volumeOps()...)
	ops = append(ops, in.proxyOps()...)
	return append(ops, in.markOps()...)
}

// markOps note whose client ID the pod has been given, for a later pass.
func (in *injection) markOps() []Op {
	annotations := in.pod.metadata.Annotations
	switch {
	case in.settings.Unmarked || !in.usesClientID() || annotations[contract.InjectedForAnnotation] == in.account.Name:
		return nil
	case len(annotations) == 0:
		return []Op{{Op: "add", Path: "/metadata/annotations", Value: map[string]string{contract.InjectedForAnnotation: in.account.Name}}}
	default:
		return []Op{{Op: "add", Path: "/metadata/annotations/" + strings.ReplaceAll(contract.InjectedForAnnotation, "/", "~1"), Value: in.account.Name}}
	}
}

// complete returns the environment and mounts that container c lacks.
func (in *injection) complete(c podContainer) (env []envVar, mounts []volumeMount) {
	tokenFile := contract.MountPath + "/" + contract.TokenPath
	caFile := contract.MountPath + "/" + contract.CAPath
	if in.usesReservedVolume() {
		base, found := tokenMount(c)
		if !found {
			mounts = append(mounts, volumeMount{Name: in.reservedVolume(), MountPath: contract.MountPath, ReadOnly: true})
		}
		tokenFile, caFile = base+"/"+contract.TokenPath, base+"/"+contract.CAPath
	}
	if in.usesLegacyVolume() {
		if !c.mounts(contract.LegacyMountPath) {
			mounts = append(mounts, volumeMount{Name: contract.LegacyVolume, MountPath: contract.LegacyMountPath, ReadOnly: true})
		}
		if in.settings.Layout == LayoutV15 {
			tokenFile = contract.LegacyMountPath + "/" + contract.TokenFileName
		}
	}

	want := []envVar{
		{Name: contract.EnvClientID, Value: in.clientID()},
		{Name: contract.EnvTenantID, Value: in.tenantID()},
		{Name: contract.EnvFederatedTokenFile, Value: tokenFile},
		{Name: contract.EnvAuthorityHost, Value: in.settings.AuthorityHost},
	}
	if e := in.settings.CustomTokenEndpoint; in.custom && e.TokenProxy != "" {
		want = append(want, envVar{Name: contract.EnvTokenProxy, Value: e.TokenProxy}, envVar{Name: contract.EnvSNIName, Value: e.SNIName})
		// The SDKs refuse file and data together, so the author's choice of one
		// keeps us from adding the other.
		switch {
		case c.sets(contract.EnvCAFile) || c.sets(contract.EnvCAData):
		case e.caIsFile():
			want = append(want, envVar{Name: contract.EnvCAFile, Value: caFile})
		default:
			want = append(want, envVar{Name: contract.EnvCAData, Value: e.CAData})
		}
	}
	for _, v := range want {
		if v.Value != "" && !c.sets(v.Name) {
			env = append(env, v)
		}
	}
	return append(env, in.endpointEnv(c)...), mounts
}

// refersTo reports whether a variable of the container's own refers to one of those
// to add: references expand only to variables that stand before them. A container
// that sets the pod's UID itself has ours refer to its own.
func (c podContainer) refersTo(added []envVar) bool {
	return !c.sets(contract.EnvPodUID) && slices.ContainsFunc(c.Env, func(e podEnv) bool {
		return slices.ContainsFunc(added, func(v envVar) bool { return strings.Contains(e.Value, "$("+v.Name+")") })
	})
}

func (c podContainer) sets(env string) bool {
	for _, e := range c.Env {
		if e.Name == env {
			return true
		}
	}
	return false
}

func (in *injection) clientID() string {
	return in.account.Annotations[contract.ClientIDAnnotation]
}

func (in *injection) tenantID() string {
	if id, ok := in.account.Annotations[contract.TenantIDAnnotation]; ok && id != "" {
		return id
	}
	return in.settings.TenantID
}

// customTokenEndpoint reports whether the pod asks for the custom token endpoint.
func (p *Pod) customTokenEndpoint(s Settings) bool {
	key := s.CustomTokenEndpoint.Annotation
	return key != "" && strings.EqualFold(p.metadata.Annotations[key], "true")
}

func (in *injection) audience() string {
	if in.custom {
		return in.settings.CustomTokenEndpoint.Audience
	}
	return in.settings.Audience
}
