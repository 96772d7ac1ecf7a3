package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// NodeError says why this machine can't run a node.
type NodeError struct {
	// Packages are Debian's that are missing: apt-get install mends that.
	Packages []string
	// Rights are what else is missing.
	Rights []string
}

func (e *NodeError) Error() string {
	missing := slices.Clone(e.Rights)
	if len(e.Packages) > 0 {
		missing = append(missing, "Debian packages (apt-get install "+strings.Join(e.Packages, " ")+")")
	}
	return "this machine can't run a node; missing: " + strings.Join(missing, "; ")
}

// cniDirs are where the CNI plugins may be: Debian's place, and everybody else's.
const cniDirs = "/usr/lib/cni:/opt/cni/bin"

// CheckNode returns a *NodeError if this machine lacks what a node needs, all of
// it together.
func CheckNode() error {
	missing := &NodeError{}
	if runtime.GOOS != "linux" {
		missing.Rights = append(missing.Rights, "Linux")
		return missing
	}
	for _, need := range []struct{ path, program, pkg string }{
		{os.Getenv("PATH"), "containerd", "containerd"},
		{os.Getenv("PATH"), "containerd-shim-runc-v2", "containerd"},
		{os.Getenv("PATH"), "ctr", "containerd"},
		{os.Getenv("PATH"), "runc", "runc"},
		{os.Getenv("PATH"), "ip", "iproute2"},
		{os.Getenv("PATH"), "nft", "nftables"},
		{os.Getenv("PATH"), "nsenter", "util-linux"},
		{os.Getenv("PATH"), "mount", "mount"},
		{cniDirs, "ptp", "containernetworking-plugins"},
		{cniDirs, "host-local", "containernetworking-plugins"},
		{cniDirs, "loopback", "containernetworking-plugins"},
	} {
		if findProgram(need.path, need.program) == "" && !slices.Contains(missing.Packages, need.pkg) {
			missing.Packages = append(missing.Packages, need.pkg)
		}
	}
	if os.Geteuid() != 0 {
		missing.Rights = append(missing.Rights, "root (it makes namespaces, mounts and cgroups)")
	} else if err := checkCgroups(); err != nil {
		missing.Rights = append(missing.Rights, err.Error())
	}
	if len(missing.Packages)+len(missing.Rights) > 0 {
		return missing
	}
	return nil
}

func findProgram(path, program string) string {
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, program)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file
		}
	}
	return ""
}

const cgroupRoot = "/sys/fs/cgroup"

// cgroupHierarchies are the folders in which a cgroup of one name has to be made:
// the root itself (version 2), or each controller's (version 1).
func cgroupHierarchies() ([]string, error) {
	if exists(filepath.Join(cgroupRoot, "cgroup.controllers")) {
		return []string{cgroupRoot}, nil
	}
	// All of them, as runc uses each that it finds. cpu and cpuacct may be links to one.
	entries, err := os.ReadDir(cgroupRoot)
	if err != nil {
		return nil, fmt.Errorf("cgroups: %w", err)
	}
	var dirs []string
	for _, entry := range entries {
		if dir := filepath.Join(cgroupRoot, entry.Name()); exists(filepath.Join(dir, "cgroup.procs")) {
			dirs = append(dirs, dir)
		}
	}
	for _, controller := range []string{"cpu", "cpuset", "memory", "devices", "freezer", "pids"} {
		if !slices.Contains(dirs, filepath.Join(cgroupRoot, controller)) {
			return nil, fmt.Errorf("the cgroup controller %s below %s", controller, cgroupRoot)
		}
	}
	return dirs, nil
}

func checkCgroups() error {
	dirs, err := cgroupHierarchies()
	if err != nil {
		return err
	}
	probe, err := os.MkdirTemp(dirs[0], linkPrefix+"-probe-")
	if err != nil {
		return fmt.Errorf("the right to make cgroups (%w)", err)
	}
	return os.Remove(probe)
}

// linkPrefix begins the names of our network links and cgroups.
const linkPrefix = "azwi"

// A place is what a node takes of the machine beside its folder: a link, whose name
// no other has, with two addresses, and a cgroup of the same name.
type place struct {
	name       string
	host, node netip.Addr
}

// takePlace makes the link between the machine and the network of the process.
// Its addresses are out of 198.18.0.0/15, which is for tests and belongs to nobody
// (RFC 2544).
func takePlace(ctx context.Context, pid int) (place, error) {
	if err := sweepCgroups(); err != nil {
		return place{}, err
	}
	var err error
	for range 20 {
		number := rand.IntN(1 << 15) // of the networks of four addresses in there
		base := netip.AddrFrom4([4]byte{198, byte(18 + number>>14), byte(number >> 6), byte(number << 2)})
		p := place{name: fmt.Sprintf("%s%04x", linkPrefix, number), host: base.Next(), node: base.Next().Next()}
		// The name is taken by making it: two clusters can't have the same number.
		if err = runTool(ctx, "", "ip", "link", "add", p.name, "type", "veth", "peer", "name", "eth0", "netns", fmt.Sprint(pid)); err != nil {
			continue
		}
		if err := runTool(ctx, fmt.Sprintf("address add %s/30 dev %s\nlink set %s up\n", p.host, p.name, p.name), "ip", "-batch", "-"); err != nil {
			return place{}, err
		}
		// Nothing leads beyond this machine: whoever tries is told so at once. Services
		// need a way to be tried at all, before kube-proxy's rules turn it.
		inside := fmt.Sprintf("link set lo up\naddress add %s/30 dev eth0\nlink set eth0 up\nroute add unreachable default\nroute add %s dev eth0\n", p.node, serviceRange)
		if err := runTool(ctx, inside, "nsenter", "-t", fmt.Sprint(pid), "-n", "ip", "-batch", "-"); err != nil {
			return place{}, err
		}
		// The machine knows the node's address only, not those of its pods.
		masquerade := fmt.Sprintf("add table ip %[1]s\nadd chain ip %[1]s out { type nat hook postrouting priority srcnat; }\nadd rule ip %[1]s out ip saddr %[2]s oifname eth0 masquerade\n", linkPrefix, podRange)
		if err := runTool(ctx, masquerade, "nsenter", "-t", fmt.Sprint(pid), "-n", "nft", "-f", "-"); err != nil {
			return place{}, err
		}
		return p, makeCgroups(p.name)
	}
	return place{}, fmt.Errorf("make a network link: %w", err)
}

func makeCgroups(name string) error {
	dirs, err := cgroupHierarchies()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// removeCgroups removes a node's cgroups once its processes have ended, which the
// kernel takes a moment for.
func removeCgroups(name string) error {
	if name == "" {
		return nil
	}
	dirs, err := cgroupHierarchies()
	if err != nil {
		return err
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var left error
		for _, dir := range dirs {
			left = errors.Join(left, removeTree(filepath.Join(dir, name)))
		}
		if left == nil || time.Now().After(end) {
			return left
		}
	}
}

// removeTree removes a cgroup and those in it; their files go with them.
func removeTree(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			dirs = append(dirs, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	for _, d := range slices.Backward(dirs) {
		if e := os.Remove(d); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// sweepCgroups removes what nodes left that were killed: their links are gone.
func sweepCgroups() error {
	dirs, err := cgroupHierarchies()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		left, err := filepath.Glob(filepath.Join(dir, linkPrefix+"[0-9a-f][0-9a-f][0-9a-f][0-9a-f]"))
		if err != nil {
			return err
		}
		for _, old := range left {
			if _, err := net.InterfaceByName(filepath.Base(old)); err != nil {
				_ = removeTree(old) // if it is in use after all, it stays
			}
		}
	}
	return nil
}

// runTool runs one of the system's programs.
func runTool(ctx context.Context, input, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
