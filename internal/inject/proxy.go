package inject

import (
	"fmt"
	"strconv"

	"azwi/contract"
)

type newContainer struct {
	Name            string            `json:"name"`
	Image           string            `json:"image"`
	ImagePullPolicy string            `json:"imagePullPolicy"`
	RestartPolicy   string            `json:"restartPolicy,omitempty"`
	Args            []string          `json:"args"`
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
	RunAsUser                int64          `json:"runAsUser"`
	RunAsGroup               int64          `json:"runAsGroup"`
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

// addsProxy reports whether at least one of the proxy's containers is missing.
func (in *injection) addsProxy() bool {
	return in.proxy && (!in.pod.hasContainer(contract.ProxyContainer) || !in.pod.hasContainer(contract.ProxyInitContainer))
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
	if !in.pod.hasContainer(contract.ProxyInitContainer) {
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
	c := newContainer{
		Name:            contract.ProxyContainer,
		Image:           in.settings.Proxy.Image,
		ImagePullPolicy: "IfNotPresent",
		Args:            []string{port, logLevel},
		Ports:           []containerPort{{in.proxyPort}},
		Resources:       *in.settings.Proxy.Resources,
		Lifecycle:       &lifecycle{},
		SecurityContext: lockedDown(),
	}
	c.Lifecycle.PostStart.Exec.Command = []string{contract.ProxyBinary, "--probe", port, logLevel}
	// Written out, or a runAsUser of the whole pod would take the proxy's traffic
	// into its own redirect.
	c.SecurityContext.RunAsNonRoot = true
	c.SecurityContext.RunAsUser = contract.ProxyUID
	c.SecurityContext.RunAsGroup = contract.ProxyUID
	c.Env, c.VolumeMounts = in.complete(podContainer{})
	c.VolumeMounts = append(c.VolumeMounts, noAPIToken())
	return c
}

// proxyInitContainer sets the redirect. It holds no token and no identity.
func (in *injection) proxyInitContainer() newContainer {
	c := newContainer{
		Name:            contract.ProxyInitContainer,
		Image:           in.settings.Proxy.InitImage,
		ImagePullPolicy: "IfNotPresent",
		Args:            []string{"init"},
		Env:             []envVar{{contract.ProxyPortEnv, strconv.FormatInt(in.proxyPort, 10)}},
		Resources:       *in.settings.Proxy.InitResources,
		VolumeMounts:    []volumeMount{noAPIToken()},
		SecurityContext: lockedDown(),
	}
	c.SecurityContext.Capabilities.Add = []string{"NET_ADMIN"}
	return c
}

func lockedDown() containerSecurity {
	return containerSecurity{
		ReadOnlyRootFilesystem: true,
		Capabilities:           capabilities{Drop: []string{"ALL"}},
		SeccompProfile:         seccompProfile{Type: "RuntimeDefault"},
	}
}

// noAPIToken takes the place of the API server's token, which the service
// account admission plugin would otherwise mount when it runs again after us.
func noAPIToken() volumeMount {
	return volumeMount{Name: contract.EmptyVolume, MountPath: contract.APITokenMountPath, ReadOnly: true}
}
