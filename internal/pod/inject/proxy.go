package inject

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"azwi/contract"
	"azwi/internal/finding"
)

type newContainer struct {
	Name            string            `json:"name"`
	Image           string            `json:"image"`
	ImagePullPolicy string            `json:"imagePullPolicy"`
	RestartPolicy   string            `json:"restartPolicy,omitempty"`
	Args            []string          `json:"args,omitempty"`
	Env             []envVar          `json:"env,omitempty"`
	Ports           []containerPort   `json:"ports,omitempty"`
	Resources       Resources         `json:"resources"`
	VolumeMounts    []volumeMount     `json:"volumeMounts,omitempty"`
	Lifecycle       *lifecycle        `json:"lifecycle,omitempty"`
	SecurityContext containerSecurity `json:"securityContext"`
}

type containerPort struct {
	ContainerPort int64 `json:"containerPort"`
}

type lifecycle struct {
	PostStart struct {
		Exec struct {
			Command []string `json:"command"`
		} `json:"exec"`
	} `json:"postStart"`
}

type containerSecurity struct {
	AllowPrivilegeEscalation bool           `json:"allowPrivilegeEscalation"`
	Privileged               bool           `json:"privileged"`
	ReadOnlyRootFilesystem   bool           `json:"readOnlyRootFilesystem"`
	RunAsNonRoot             bool           `json:"runAsNonRoot"`
	RunAsUser                *int64         `json:"runAsUser,omitempty"`
	RunAsGroup               *int64         `json:"runAsGroup,omitempty"`
	Capabilities             capabilities   `json:"capabilities"`
	SeccompProfile           seccompProfile `json:"seccompProfile"`
}

type capabilities struct {
	Add  []string `json:"add,omitempty"`
	Drop []string `json:"drop"`
}

type seccompProfile struct {
	Type string `json:"type"`
}

// addsProxy and addsInit report which of the proxy's containers are missing. There
// is nothing to redirect in env mode.
func (in *injection) addsProxy() bool {
	return in.proxy && !in.pod.hasContainer(contract.ProxyContainer) || in.addsInit()
}

func (in *injection) addsInit() bool {
	return in.proxyMode == contract.ProxyModeRedirect && !in.pod.hasContainer(contract.ProxyInitContainer)
}

// proxyCA names the ConfigMap of the sidecar's extra CA, if it has one.
func (in *injection) proxyCA() string {
	if !in.proxy {
		return ""
	}
	return in.annotation(contract.ProxyCAAnnotation)
}

// upstreamImages reports whether the images are a pair as upstream's are.
func (in *injection) upstreamImages() bool {
	return in.settings.Proxy.InitImage != in.settings.Proxy.Image
}

// proxyOps adds the proxy's containers. Those that are there already, by name,
// stay as they are.
//
// A native sidecar and the redirect before it come ahead of the pod's own init
// containers, so that these are served too. Otherwise no sidecar runs before the
// containers start, and a redirect set earlier would cut the init containers off:
// the redirect then comes last.
func (in *injection) proxyOps() []Op {
	if !in.proxy {
		return nil
	}
	var before, after []newContainer
	if in.addsInit() {
		if in.settings.Proxy.NativeSidecar {
			before = append(before, in.proxyInitContainer())
		} else {
			after = append(after, in.proxyInitContainer())
		}
	}
	inits := len(in.pod.spec.InitContainers)
	ops := appendOps("/spec/initContainers", inits, after)
	if !in.pod.hasContainer(contract.ProxyContainer) {
		sidecar := in.proxyContainer()
		if in.settings.Proxy.NativeSidecar {
			sidecar.RestartPolicy = "Always"
			before = append(before, sidecar)
		} else {
			ops = append(ops, prependOps("/spec/containers", len(in.pod.spec.Containers), []newContainer{sidecar})...)
		}
	}
	return append(ops, prependOps("/spec/initContainers", inits, before)...)
}

// proxyContainer is the sidecar. It gets what the application's containers get.
func (in *injection) proxyContainer() newContainer {
	port := fmt.Sprintf("--proxy-port=%d", in.proxyPort)
	logLevel := "--log-level=" + in.settings.Proxy.LogLevel
	binary := contract.ProxyBinary
	if in.upstreamImages() {
		binary = contract.UpstreamProxyBinary
	}
	c := newContainer{
		Name:            contract.ProxyContainer,
		Image:           in.settings.Proxy.Image,
		ImagePullPolicy: "IfNotPresent",
		Args:            []string{port, logLevel},
		Ports:           []containerPort{{in.proxyPort}},
		Resources:       in.resources(*in.settings.Proxy.Resources),
		Lifecycle:       &lifecycle{},
		SecurityContext: lockedDown(),
	}
	c.Lifecycle.PostStart.Exec.Command = []string{binary, "--probe", port, logLevel}
	c.SecurityContext.RunAsNonRoot = true
	c.Env, c.VolumeMounts = in.complete(podContainer{Name: contract.ProxyContainer})
	if in.proxyMode == contract.ProxyModeEnv {
		c.Args = append(c.Args, "--proxy-mode="+contract.ProxyModeEnv)
		c.Env = append(c.Env, podUID())
		// It runs as the pod's own user, of whom a cluster may insist on a certain
		// range (OpenShift), or that of the image. The kubelet starts no root here.
		if uid := in.pod.spec.SecurityContext.RunAsUser; uid != nil && *uid == 0 {
			c.SecurityContext.runAs(contract.ProxyUID)
		}
	} else {
		// Written out, or a runAsUser of the whole pod would take the proxy's
		// traffic into its own redirect.
		c.SecurityContext.runAs(contract.ProxyUID)
	}
	if !in.settings.Proxy.NativeSidecar && !in.upstreamImages() {
		// The application gets its signal at the same time, and may want a token yet.
		c.Args = append(c.Args, "--drain-delay=10s")
	}
	for _, pair := range in.identities {
		c.Args = append(c.Args, "--identity="+pair)
	}
	for _, client := range in.allowed {
		c.Args = append(c.Args, "--allow-client-id="+client)
	}
	in.addEgress(&c)
	c.VolumeMounts = append(c.VolumeMounts, noAPIToken())
	return c
}

// addEgress is for networks that Entra is reached from through a proxy only. The
// application's own environment stays out of it.
func (in *injection) addEgress(c *newContainer) {
	for _, v := range []envVar{
		{Name: "HTTPS_PROXY", Value: in.annotation(contract.ProxyEgressAnnotation)},
		{Name: "NO_PROXY", Value: in.annotation(contract.ProxyNoEgressAnnotation)},
	} {
		if v.Value != "" {
			c.Env = append(c.Env, v)
		}
	}
	if in.proxyCA() != "" {
		c.Args = append(c.Args, "--ca-file="+contract.ProxyCAMountPath+"/"+contract.CAKey)
		c.VolumeMounts = append(c.VolumeMounts, volumeMount{Name: contract.ProxyCAVolume, MountPath: contract.ProxyCAMountPath, ReadOnly: true})
	}
}

// resources are those of a container whose own ones are given. A pod with requests
// or limits of its own, as a whole, has reckoned with its author's containers only,
// and the API server refuses those that need more.
func (in *injection) resources(own Resources) Resources {
	r := Resources{Requests: map[string]string{}, Limits: map[string]string{}}
	if !in.pod.hasResources() {
		maps.Copy(r.Requests, own.Requests)
		maps.Copy(r.Limits, own.Limits)
	}
	for _, q := range Quantities() {
		request, requested := in.pod.metadata.Annotations[q.Request]
		limit, limited := in.pod.metadata.Annotations[q.Limit]
		if !requested && !limited {
			continue
		}
		delete(r.Requests, q.Resource)
		delete(r.Limits, q.Resource)
		if requested {
			r.Requests[q.Resource] = request
		}
		if limited {
			r.Limits[q.Resource] = limit
		}
	}
	return r
}

// proxyInitContainer sets the redirect. It holds no token and no identity.
func (in *injection) proxyInitContainer() newContainer {
	c := newContainer{
		Name:            contract.ProxyInitContainer,
		Image:           in.settings.Proxy.InitImage,
		ImagePullPolicy: "IfNotPresent",
		Args:            []string{"init"},
		Env:             []envVar{{Name: contract.ProxyPortEnv, Value: strconv.FormatInt(in.proxyPort, 10)}},
		Resources:       in.resources(*in.settings.Proxy.InitResources),
		VolumeMounts:    []volumeMount{noAPIToken()},
		SecurityContext: lockedDown(),
	}
	c.SecurityContext.Capabilities.Add = []string{"NET_ADMIN"}
	c.SecurityContext.runAs(0)
	if in.upstreamImages() {
		// Upstream's image runs a script with iptables, which takes a lock file.
		c.Args = nil
		c.SecurityContext.Privileged = true
		c.SecurityContext.AllowPrivilegeEscalation = true // privileged containers must
		c.SecurityContext.ReadOnlyRootFilesystem = false
	}
	return c
}

func lockedDown() containerSecurity {
	return containerSecurity{
		ReadOnlyRootFilesystem: true,
		Capabilities:           capabilities{Drop: []string{"ALL"}},
		SeccompProfile:         seccompProfile{Type: "RuntimeDefault"},
	}
}

func (s *containerSecurity) runAs(uid int64) { s.RunAsUser, s.RunAsGroup = &uid, &uid }

// noAPIToken takes the place of the API server's token, which the service
// account admission plugin would otherwise mount when it runs again after us.
func noAPIToken() volumeMount {
	return volumeMount{Name: contract.EmptyVolume, MountPath: contract.APITokenMountPath, ReadOnly: true}
}

// endpointNames are the variables of a managed identity endpoint. They go
// together: a client that finds only some of them takes itself to be elsewhere.
func endpointNames() []string {
	return []string{contract.EnvIdentityEndpoint, contract.EnvIdentityHeader, contract.EnvMSIEndpoint, contract.EnvMSISecret}
}

// endpointEnv tells container c of the proxy, in env mode. An author who sets any
// of these variables keeps all of them as they are.
func (in *injection) endpointEnv(c podContainer) []envVar {
	if in.proxyMode != contract.ProxyModeEnv || c.Name == contract.ProxyContainer || setsEndpoint(c) {
		return nil
	}
	var env []envVar
	if !c.sets(contract.EnvPodUID) {
		env = append(env, podUID())
	}
	uid := "$(" + contract.EnvPodUID + ")"
	endpoint := fmt.Sprintf("http://127.0.0.1:%d/%s%s", in.proxyPort, uid, contract.ProxyEnvPath)
	for _, name := range endpointNames() {
		value := endpoint
		if name == contract.EnvIdentityHeader || name == contract.EnvMSISecret {
			value = uid
		}
		env = append(env, envVar{Name: name, Value: value})
	}
	return env
}

func setsEndpoint(c podContainer) bool { return slices.ContainsFunc(endpointNames(), c.sets) }

// isOurEndpoint recognises what endpointEnv wrote in an earlier pass.
func isOurEndpoint(c podContainer) bool {
	return slices.ContainsFunc(c.Env, func(e podEnv) bool {
		return e.Name == contract.EnvIdentityHeader && e.Value == "$("+contract.EnvPodUID+")"
	})
}

func podUID() envVar {
	v := envVar{Name: contract.EnvPodUID, ValueFrom: &valueFrom{}}
	v.ValueFrom.FieldRef.APIVersion, v.ValueFrom.FieldRef.FieldPath = "v1", "metadata.uid"
	return v
}

// proxyWarnings tell of what keeps a container's requests from the proxy.
func (in *injection) proxyWarnings() []finding.Finding {
	if !in.proxy {
		return nil
	}
	ws := in.sidecarWarnings()
	if in.addsInit() && in.upstreamImages() {
		return append(ws, finding.UpstreamImages())
	}
	if in.proxyMode != contract.ProxyModeEnv {
		return ws
	}
	in.pod.containers(func(_ string, _ int, c podContainer) {
		if in.skip[c.Name] || c.Name == contract.ProxyContainer {
			return
		}
		if setsEndpoint(c) && !isOurEndpoint(c) {
			ws = append(ws, finding.OwnEndpoint(c.Name))
		}
		if c.detours() {
			ws = append(ws, finding.HTTPProxy(c.Name))
		}
	})
	return ws
}

// sidecarWarnings tell of what the sidecar does to the pod.
func (in *injection) sidecarWarnings() []finding.Finding {
	var ws []finding.Finding
	in.pod.containers(func(_ string, _ int, c podContainer) {
		if c.Name != contract.ProxyContainer && slices.ContainsFunc(c.Ports, func(p podPort) bool {
			return p.ContainerPort == in.proxyPort && (p.Protocol == "" || p.Protocol == "TCP")
		}) {
			ws = append(ws, finding.PortTaken(c.Name, in.proxyPort))
		}
	})
	if policy := in.pod.spec.RestartPolicy; !in.settings.Proxy.NativeSidecar && (policy == "Never" || policy == "OnFailure") {
		ws = append(ws, finding.NeverCompletes(policy))
	}
	return ws
}

// detours reports whether requests to loopback may leave by an HTTP proxy. Values
// from elsewhere (valueFrom) are not seen here.
func (c podContainer) detours() bool {
	proxied, spared := false, false
	for _, e := range c.Env {
		switch strings.ToUpper(e.Name) {
		case "HTTP_PROXY":
			proxied = proxied || e.Value != ""
		case "NO_PROXY":
			spared = spared || strings.Contains(e.Value, "127.0.0.1") || e.Value == "*"
		}
	}
	return proxied && !spared
}
