package memlimit_test

import (
	"math"
	"runtime/debug"
	"testing"
	"testing/fstest"

	"azwi/internal/memlimit"
)

func files(pairs ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		fsys[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return fsys
}

func TestCgroup(t *testing.T) {
	t.Parallel()
	const none = "9223372036854771712\n" // version 1's no limit
	for _, tt := range []struct {
		name string
		root fstest.MapFS
		want int64
	}{
		{"no cgroups", files(), 0},
		{"version 2, container", files("proc/self/cgroup", "0::/\n", "sys/fs/cgroup/memory.max", "67108864\n"), 64 << 20},
		{"version 2, no limit", files("proc/self/cgroup", "0::/\n", "sys/fs/cgroup/memory.max", "max\n"), 0},
		{"version 2, the parent's is lower", files("proc/self/cgroup", "0::/pod/main\n",
			"sys/fs/cgroup/pod/main/memory.max", "max\n", "sys/fs/cgroup/pod/memory.max", "100\n"), 100},
		{"version 2, own is lower", files("proc/self/cgroup", "0::/pod/main\n",
			"sys/fs/cgroup/pod/main/memory.max", "50\n", "sys/fs/cgroup/pod/memory.max", "100\n"), 50},
		{"version 1, the host's path", files("proc/self/cgroup", "5:cpu:/x\n4:memory:/kubepods/pod1/c1\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes", "67108864\n"), 64 << 20},
		{"version 1, no limit", files("proc/self/cgroup", "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes", none), 0},
		{"hybrid", files("proc/self/cgroup", "4:memory:/a\n0::/\n",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1000\n", "sys/fs/cgroup/memory/memory.limit_in_bytes", none), 1000},
		{"nonsense", files("proc/self/cgroup", "memory\n4:memory:/../..\n", "sys/fs/cgroup/memory/memory.limit_in_bytes", "-1\n"), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, ok := memlimit.Cgroup(tt.root)
			if ok != (tt.want > 0) || ok && got != tt.want {
				t.Errorf("got %d, %t; want %d", got, ok, tt.want)
			}
		})
	}
}

func TestApply(t *testing.T) { //nolint:paralleltest // the limit is the whole process's
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	debug.SetMemoryLimit(math.MaxInt64)
	limited := files("proc/self/cgroup", "0::/\n", "sys/fs/cgroup/memory.max", "10737418240\n")
	chosen := func(string) string { return "1GiB" }
	if got := memlimit.Apply(limited, chosen); got != 0 || debug.SetMemoryLimit(-1) != math.MaxInt64 {
		t.Errorf("GOMEMLIMIT is overruled: %d", got)
	}
	unset := func(string) string { return "" }
	if got := memlimit.Apply(files(), unset); got != 0 || debug.SetMemoryLimit(-1) != math.MaxInt64 {
		t.Errorf("without a cgroup: %d", got)
	}
	if got := memlimit.Apply(limited, unset); got != 8<<30 || debug.SetMemoryLimit(-1) != 8<<30 {
		t.Errorf("got %d, want 8 GiB", got)
	}
}
