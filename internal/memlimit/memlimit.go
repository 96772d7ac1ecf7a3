package memlimit

import (
	"cmp"
	"io/fs"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

// share of the cgroup's limit that Go's heap, stacks and runtime may take. The rest
// is for what the kernel charges beside them: socket buffers, page tables and the
// pages of the binary.
const share = 0.8

// Apply sets Go's memory limit to four fifths of the cgroup's, and returns it in
// bytes. It leaves everything as it is and returns 0 where the environment sets
// GOMEMLIMIT and where no cgroup limits the process. Root is the file system's root.
func Apply(root fs.FS, getenv func(string) string) int64 {
	if getenv("GOMEMLIMIT") != "" {
		return 0 // the runtime has read it
	}
	limit, ok := Cgroup(root)
	if !ok {
		return 0
	}
	limit = int64(float64(limit) * share)
	debug.SetMemoryLimit(limit)
	return limit
}

// Cgroup returns the memory limit of the process's cgroup in bytes, version 1 or 2,
// or the lowest one of those around it. It reports false where there is none or it
// can't be read.
func Cgroup(root fs.FS) (int64, bool) {
	self, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0, false
	}
	var lowest int64
	for line := range strings.Lines(string(self)) {
		// hierarchy:controllers:path; version 2 has the number 0 and no controllers.
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		var mount, file string
		switch {
		case fields[0] == "0" && fields[1] == "":
			mount, file = "sys/fs/cgroup", "memory.max"
		case fields[1] == "memory":
			mount, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		// In a container the path may be the host's, of which only the end is
		// mounted here, as the root: whatever of it can be read counts.
		for at := path.Join("/", fields[2]); ; at = path.Dir(at) {
			if limit, ok := readLimit(root, path.Join(mount, at, file)); ok {
				lowest = min(cmp.Or(lowest, limit), limit)
			}
			if at == "/" {
				break
			}
		}
	}
	return lowest, lowest > 0
}

// unlimited is less than what version 1 writes for no limit, and more than any
// machine has.
const unlimited = 1 << 60

func readLimit(root fs.FS, name string) (int64, bool) {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, false
	}
	limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64) // version 2 writes "max" for no limit
	return limit, err == nil && limit > 0 && limit < unlimited
}
