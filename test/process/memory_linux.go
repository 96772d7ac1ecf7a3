package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// memoryGroup is a memory cgroup of one child's own.
type memoryGroup struct {
	dir string
	v2  bool
}

const (
	cgroupV1 = "/sys/fs/cgroup/memory"
	cgroupV2 = "/sys/fs/cgroup"
)

// newMemoryGroup makes a cgroup with a limit in bytes, without swap.
func newMemoryGroup(limit int64) (*memoryGroup, error) {
	parent, v2 := cgroupV1, false
	if _, err := os.Stat(filepath.Join(parent, "memory.limit_in_bytes")); errors.Is(err, fs.ErrNotExist) {
		parent, v2 = cgroupV2, true
		// Unless it is on already. Refused where processes of this cgroup are in the way.
		if err := writeFile(filepath.Join(parent, "cgroup.subtree_control"), "+memory"); err != nil {
			return nil, err
		}
	}
	dir, err := os.MkdirTemp(parent, "azwi-test-")
	if err != nil {
		return nil, err
	}
	g := &memoryGroup{dir: dir, v2: v2}
	bytes := strconv.FormatInt(limit, 10)
	if v2 {
		err = errors.Join(g.write("memory.max", bytes), ignoreAbsent(g.write("memory.swap.max", "0")))
	} else {
		err = errors.Join(g.write("memory.limit_in_bytes", bytes), ignoreAbsent(g.write("memory.memsw.limit_in_bytes", bytes)))
	}
	if err != nil {
		return nil, errors.Join(err, g.remove())
	}
	return g, nil
}

// enter has a command line start its program inside. The shell moves itself, then
// becomes the program, which so was never outside.
func (g *memoryGroup) enter(binary string, args []string) (string, []string) {
	script := `echo 0 >"$0" && exec "$@"`
	return "/bin/sh", append([]string{"-c", script, filepath.Join(g.dir, "cgroup.procs"), binary}, args...)
}

func (g *memoryGroup) kills() (int, error) {
	file := "memory.oom_control"
	if g.v2 {
		file = "memory.events"
	}
	text, err := os.ReadFile(filepath.Join(g.dir, file))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if n, ok := strings.CutPrefix(line, "oom_kill "); ok {
			return strconv.Atoi(strings.TrimSpace(n))
		}
	}
	return 0, fmt.Errorf("%s counts no kills: %q", file, text)
}

func (g *memoryGroup) peak() (int64, error) {
	file := "memory.max_usage_in_bytes"
	if g.v2 {
		file = "memory.peak"
	}
	text, err := os.ReadFile(filepath.Join(g.dir, file))
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

// remove removes the cgroup, as soon as the kernel has let go of the processes
// that have ended there.
func (g *memoryGroup) remove() error {
	for try := 0; ; try++ {
		err := syscall.Rmdir(g.dir)
		if err == nil || !errors.Is(err, syscall.EBUSY) || try == 100 {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (g *memoryGroup) write(file, text string) error {
	return writeFile(filepath.Join(g.dir, file), text)
}

// writeFile writes to a file that exists.
func writeFile(name, text string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// ignoreAbsent is for files that only kernels with swap accounting have.
func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
