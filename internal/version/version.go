package version

import (
	"runtime/debug"
)

// value is set by the linker: -X azwi/internal/version.value=v1.2.3.
//
//nolint:gochecknoglobals // the linker can set nothing else
var value string

// registry is set by the linker too: -X azwi/internal/version.registry=registry.example.com/team.
//
//nolint:gochecknoglobals // the linker can set nothing else
var registry string

// Registry is the container registry that has the images of this build, without a
// scheme, as the linker was told. Empty: the build names none, so that whoever
// installs must.
func Registry() string { return registry }

// Image is the reference of the image NAME of this build, such as azwi/proxy. It is
// empty where the build names no registry: nodes would pull a public name, which
// anybody may own.
func Image(name string) string {
	if registry == "" {
		return ""
	}
	return registry + "/" + name + ":" + String()
}

// String is the version of this build: what the linker was told, else what Go
// recorded of the module or the commit, else "dev".
func String() string {
	if value != "" {
		return value
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "dev"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "dev-" + s.Value[:12]
		}
	}
	return "dev"
}
