package version

import (
	"runtime/debug"
)

// value is set by the linker: -X azwi/internal/version.value=v1.2.3.
//
//nolint:gochecknoglobals // the linker can set nothing else
var value string

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
