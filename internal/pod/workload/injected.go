package workload

import (
	"slices"
	"strings"

	"azwi/contract"
)

// A PodSpec is the part of a pod's that tells whether it was injected, and with what.
type PodSpec struct {
	ServiceAccountName         string
	HostNetwork                bool
	InitContainers, Containers []Container
	Volumes                    []Volume
}

// A Container of a pod.
type Container struct {
	Name string
	Env  []EnvVar
}

// An EnvVar of a container. Value is empty where it comes from elsewhere.
type EnvVar struct{ Name, Value string }

// A Volume of a pod.
type Volume struct {
	Name string
	// Projected is nil for other kinds of volumes.
	Projected *struct {
		Sources []struct {
			ServiceAccountToken *struct {
				Audience          string
				ExpirationSeconds int64
			}
		}
	}
}

// Value is what the container sets a variable to; ok is false if it does not set it.
func (c Container) Value(name string) (value string, ok bool) {
	i := slices.IndexFunc(c.Env, func(e EnvVar) bool { return e.Name == name })
	if i < 0 {
		return "", false
	}
	return c.Env[i].Value, true
}

// All returns the pod's containers, the init containers last.
func (p PodSpec) All() []Container { return append(slices.Clone(p.Containers), p.InitContainers...) }

// Env is what the first container that sets a variable sets it to.
func (p PodSpec) Env(name string) string {
	for _, c := range p.All() {
		if value, ok := c.Value(name); ok {
			return value
		}
	}
	return ""
}

// TokenVolume is the volume of the token for Entra, in either layout; nil if there is none.
func (p PodSpec) TokenVolume() *Volume {
	i := slices.IndexFunc(p.Volumes, func(v Volume) bool {
		return v.Projected != nil && (strings.HasPrefix(v.Name, contract.VolumePrefix) || v.Name == contract.LegacyVolume)
	})
	if i < 0 {
		return nil
	}
	return &p.Volumes[i]
}

// Injected reports whether the pod was injected. With all containers skipped, it has the
// volume alone.
func (p PodSpec) Injected() bool {
	return p.Env(contract.EnvFederatedTokenFile) != "" || p.TokenVolume() != nil
}
