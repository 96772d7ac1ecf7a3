package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"azwi/images"
	"azwi/test/process"
)

const (
	// NodeName is the node's.
	NodeName = "node"
	// pauseImage holds a pod's namespaces.
	pauseImage = "azwi/pause:1"

	podRange     = "10.244.0.0/24"
	serviceRange = "10.96.0.0/16"
	nodeAPIPort  = 6443
	nodeEtcdPort = 2379

	runtimeSocket = "/run/containerd/containerd.sock" // the node's own /run
)

// node is where the pods run: namespaces of its own, in which etcd, the API server,
// containerd, kubelet and kube-proxy are.
type node struct {
	place   place
	init    *child
	kubelet func() (*child, error)
	image   string // the archive of the pause image
}

// startNode makes the node's namespaces and its place on the machine. Its programs
// come later.
func (c *Cluster) startNode(ctx context.Context, cfg Config) error {
	if err := CheckNode(); err != nil {
		return err
	}
	for _, hidden := range []string{"/run", "/var/run", "/var/lib", "/var/log"} {
		if strings.HasPrefix(c.Dir+"/", hidden+"/") {
			return fmt.Errorf("a cluster with a node can't have its folder in %s (%s): the node has a folder of its own in that place", hidden, c.Dir)
		}
	}
	if err := os.RemoveAll(c.path("node")); err != nil { // the pods of an earlier run are no more
		return err
	}
	binary, err := buildNode(ctx, cfg.Build, c.path("node"))
	if err != nil {
		return err
	}
	n := &node{image: c.path("node", "pause.tar")}
	if err := writePauseImage(ctx, cfg.Build, binary, n.image); err != nil {
		return err
	}
	n.init, err = startChild(c.path("log", "node.log"), process.Config{
		Name: "node", Binary: binary, Args: []string{"init"}, Dir: "/", Detached: cfg.Detached, Isolated: true,
	})
	if err != nil {
		return err
	}
	c.node = n
	c.children = append(c.children, n.init)
	err = c.wait(ctx, n.init, func(context.Context) error {
		_, err := os.Stat(fmt.Sprintf("/proc/%d/root/run/azwi-node", n.init.PID))
		return err
	})
	if err != nil {
		return err
	}
	if n.place, err = takePlace(ctx, n.init.PID); err != nil {
		return err
	}
	c.HostIP = n.place.host.String()
	return c.saveState(false)
}

// buildNode builds the program that is process 1.
func buildNode(ctx context.Context, cfg BuildConfig, dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	root, err := cfg.root()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "node")
	cmd := goCommand(ctx, filepath.Join(root, "test"), "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", binary, "./cluster/cmd/node")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the node's process 1: %w\n%s", err, out)
	}
	return binary, nil
}

func writePauseImage(ctx context.Context, cfg BuildConfig, binary, archive string) error {
	root, err := cfg.root()
	if err != nil {
		return err
	}
	image, err := images.Build(ctx, images.Spec{
		Reference: pauseImage, Title: "pause", Binary: binary, User: images.NonRoot, Licence: filepath.Join(root, "LICENSE"),
	})
	if err != nil {
		return err
	}
	return image.WriteArchive(archive)
}

// startKubelet starts all that makes pods run, and returns when the node is ready
// and has the images.
func (c *Cluster) startKubelet(ctx context.Context, cfg Config) error {
	if err := c.writeNodeFiles(); err != nil {
		return err
	}
	scheduler, err := c.start("kube-scheduler", cfg.Detached, []string{
		"--kubeconfig=" + c.path("scheduler.kubeconfig"), "--leader-elect=false", "--secure-port=0",
	})
	if err != nil {
		return err
	}
	containerd, err := c.startInNode("containerd", cfg.Detached, "containerd", "--config="+c.path("node", "containerd.toml"))
	if err != nil {
		return err
	}
	if err := c.wait(ctx, containerd, func(ctx context.Context) error { return c.ctr(ctx, "version") }); err != nil {
		return err
	}
	for _, archive := range append([]string{c.node.image}, cfg.Images...) {
		if err := c.ImportImage(ctx, archive); err != nil {
			return err
		}
	}
	c.node.kubelet = func() (*child, error) {
		return c.startInNode("kubelet", cfg.Detached, c.Binary, "kubelet",
			"--config="+c.path("node", "kubelet.yaml"), "--kubeconfig="+c.path("kubelet.kubeconfig"),
			"--hostname-override="+NodeName, "--node-ip="+c.node.place.node.String(), "--root-dir="+c.path("node", "kubelet"))
	}
	kubelet, err := c.node.kubelet()
	if err != nil {
		return err
	}
	if _, err := c.startInNode("kube-proxy", cfg.Detached, c.Binary, "kube-proxy",
		"--kubeconfig="+c.path("kube-proxy.kubeconfig"), "--hostname-override="+NodeName,
		"--proxy-mode=nftables", "--cluster-cidr="+podRange,
		// These settings are the whole machine's.
		"--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0",
	); err != nil {
		return err
	}
	select {
	case <-scheduler.running.Done():
		return fmt.Errorf("kube-scheduler ended: %w\n%s", scheduler.running.Wait(), scheduler.tail())
	default:
	}
	if err := c.wait(ctx, kubelet, c.nodeReady); err != nil {
		return err
	}
	// It is stopped first, and all at once: an API server whose watchers are gone
	// takes no time to say goodbye.
	i := slices.Index(c.children, c.node.init)
	c.children = append(slices.Delete(c.children, i, i+1), c.node.init)
	return nil
}

func (c *Cluster) nodeReady(ctx context.Context) error {
	var n struct {
		Status struct {
			Conditions []struct{ Type, Status, Message string }
		}
	}
	if _, err := c.Admin.Do(ctx, http.MethodGet, "/api/v1/nodes/"+NodeName, nil, &n); err != nil {
		return err
	}
	for _, condition := range n.Status.Conditions {
		if condition.Type == "Ready" && condition.Status == "True" {
			return nil
		}
		if condition.Type == "Ready" {
			return errors.New("the node is not ready: " + condition.Message)
		}
	}
	return errors.New("the node does not say whether it is ready")
}

// startInNode starts a program among the node's processes, mounts and network.
func (c *Cluster) startInNode(name string, detached bool, command ...string) (*child, error) {
	child, err := startChild(c.path("log", name+".log"), process.Config{
		Name: name, Binary: findProgram(os.Getenv("PATH"), "nsenter"), Dir: c.Dir, Detached: detached,
		Args: append([]string{"-t", fmt.Sprint(c.node.init.PID), "-m", "-n", "-p", "--"}, command...),
	})
	if err != nil {
		return nil, err
	}
	c.children = append(c.children, child)
	return child, c.saveState(false)
}

// RestartKubelet ends the kubelet and starts it again. Pods live through it.
func (c *Cluster) RestartKubelet(ctx context.Context) error {
	i := slices.IndexFunc(c.children, func(child *child) bool { return child.Name == "kubelet" })
	if i < 0 {
		return errors.New("restart the kubelet: there is none")
	}
	// What we started waits for the kubelet, which is its child.
	children, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", c.children[i].PID))
	if err != nil {
		return err
	}
	for field := range strings.FieldsSeq(string(children)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return err
		}
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			return fmt.Errorf("end the kubelet: %w", err)
		}
	}
	select {
	case <-c.children[i].running.Done():
	case <-ctx.Done():
		return ctx.Err()
	}
	c.children = slices.Delete(c.children, i, i+1)
	_, err = c.node.kubelet()
	return err
}

// ImportImage gives the node an image out of an archive.
func (c *Cluster) ImportImage(ctx context.Context, archive string) error {
	file, err := filepath.Abs(archive)
	if err != nil {
		return err
	}
	if err := c.ctr(ctx, "-n", "k8s.io", "images", "import", file); err != nil {
		return fmt.Errorf("import %s: %w", archive, err)
	}
	return nil
}

func (c *Cluster) ctr(ctx context.Context, args ...string) error {
	return runTool(ctx, "", "nsenter", append([]string{"-t", fmt.Sprint(c.node.init.PID), "-m", "--", "ctr", "-a", runtimeSocket}, args...)...)
}

// writeNodeFiles writes what the node's programs read.
func (c *Cluster) writeNodeFiles() error {
	ip := c.node.place.node.String()
	serving, err := c.CA.Server(NodeName, ip)
	if err != nil {
		return err
	}
	errs := []error{
		serving.Write(c.path("pki", "kubelet.crt"), c.path("pki", "kubelet.key")),
		c.WriteKubeconfig(c.path("kubelet.kubeconfig"), "system:node:"+NodeName, "system:nodes"),
		c.WriteKubeconfig(c.path("kube-proxy.kubeconfig"), "system:kube-proxy"),
		c.WriteKubeconfig(c.path("scheduler.kubeconfig"), "system:kube-scheduler"),
		os.MkdirAll(c.path("node", "cni"), 0o700),
	}
	kubelet := map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"authentication": map[string]any{
			"anonymous": map[string]any{"enabled": false}, "webhook": map[string]any{"enabled": true},
			"x509": map[string]any{"clientCAFile": c.CAFile},
		},
		"authorization":            map[string]any{"mode": "Webhook"},
		"tlsCertFile":              c.path("pki", "kubelet.crt"),
		"tlsPrivateKeyFile":        c.path("pki", "kubelet.key"),
		"failSwapOn":               false,
		"failCgroupV1":             false,
		"cgroupDriver":             "cgroupfs",
		"cgroupRoot":               "/" + c.node.place.name,
		"enforceNodeAllocatable":   []string{"pods"},
		"containerRuntimeEndpoint": "unix://" + runtimeSocket,
		// There is no DNS: what is asked for in a pod is refused at once.
		"clusterDNS": []string{loopback},
		"resolvConf": c.path("node", "resolv.conf"),
		// The disk is the machine's: how full it is, is none of the node's business.
		"imageGCHighThresholdPercent": 100,
		"imageGCLowThresholdPercent":  99,
		"evictionHard": map[string]any{
			"memory.available": "50Mi", "nodefs.available": "0%", "imagefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.inodesFree": "0%",
		},
		"nodeStatusUpdateFrequency": "5s",
		"maxPods":                   200,
		// Tests start many pods, and look at them, at once.
		"kubeAPIQPS": 1000, "kubeAPIBurst": 1000, "serializeImagePulls": false, "registryPullQPS": 0, "eventRecordQPS": 0,
		"shutdownGracePeriod": "0s",
	}
	network := map[string]any{
		"cniVersion": "1.0.0", "name": linkPrefix, "plugins": []any{map[string]any{
			"type": "ptp", "ipam": map[string]any{
				"type": "host-local", "dataDir": "/run/cni-addresses", "ranges": []any{[]any{map[string]any{"subnet": podRange}}},
				"routes": []any{map[string]any{"dst": "0.0.0.0/0"}},
			},
		}},
	}
	for file, content := range map[string]any{"kubelet.yaml": kubelet, "cni/10-azwi.conflist": network} {
		text, err := json.MarshalIndent(content, "", "  ") // JSON is YAML too
		errs = append(errs, err, os.WriteFile(c.path("node", file), text, 0o600))
	}
	return errors.Join(append(errs,
		os.WriteFile(c.path("node", "resolv.conf"), []byte("nameserver "+loopback+"\n"), 0o600),
		os.WriteFile(c.path("node", "containerd.toml"), []byte(c.containerdConfig()), 0o600),
	)...)
}

// containerdConfig is for containerd 1.6 and 1.7: Debian's.
func (c *Cluster) containerdConfig() string {
	return fmt.Sprintf(`version = 2
root = %q
state = "/run/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  disable_apparmor = true
  restrict_oom_score_adj = true # without CAP_SYS_RESOURCE no container would start
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
[plugins."io.containerd.internal.v1.opt"]
  path = %q
`, c.path("node", "containerd"), runtimeSocket, pauseImage,
		filepath.Dir(findProgram(cniDirs, "ptp")), c.path("node", "cni"), c.path("node", "opt"))
}

// nodeAPIServerFlags replace and add to the API server's.
func (c *Cluster) nodeAPIServerFlags() ([]string, error) {
	pair, err := c.CA.Client("kube-apiserver-kubelet-client", "system:masters")
	if err != nil {
		return nil, err
	}
	certificate, key := c.path("pki", "kubelet-client.crt"), c.path("pki", "kubelet-client.key")
	return []string{
		"--bind-address=0.0.0.0",
		"--advertise-address=" + c.node.place.node.String(),
		"--endpoint-reconciler-type=lease", // the Service kubernetes leads somewhere
		"--kubelet-certificate-authority=" + c.CAFile,
		"--kubelet-client-certificate=" + certificate,
		"--kubelet-client-key=" + key,
		"--kubelet-preferred-address-types=InternalIP",
	}, pair.Write(certificate, key)
}
