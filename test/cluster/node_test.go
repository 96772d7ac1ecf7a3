package cluster_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"azwi/test/cluster"
)

// Two nodes live side by side, pods run on each, and nothing of them is left, even
// of the one that was killed.
func TestNodes(t *testing.T) {
	t.Parallel()
	cluster.RequireNode(t)
	settings := []string{"vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward"}
	before := readSettings(t, settings)
	var clusters [2]*cluster.Cluster
	for i := range clusters {
		c, err := cluster.Start(t.Context(), cluster.Config{Node: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Stop() }) //nolint:errcheck // the test has stopped it and seen how
		clusters[i] = c
	}
	var names []string
	for _, c := range clusters {
		runPods(t, c)
		if err := c.RestartAPIServer(t.Context()); err != nil {
			t.Error(err)
		}
		state, err := cluster.LoadState(c.Dir)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, state.Node)
		if after := readSettings(t, settings); !slices.Equal(before, after) {
			t.Errorf("the machine's settings were %q and are %q", before, after)
		}
	}
	if names[0] == "" || names[0] == names[1] {
		t.Errorf("the nodes are called %q", names)
	}

	killed, err := cluster.LoadState(clusters[0].Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range killed.Processes {
		if err := p.Stop(0); err != nil {
			t.Error(err)
		}
	}
	for i, c := range clusters {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
		wantGone(t, c.Dir, names[i])
	}
}

func readSettings(t *testing.T, names []string) []string {
	t.Helper()
	var values []string
	for _, name := range names {
		value, err := os.ReadFile("/proc/sys/" + name)
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, name+"="+strings.TrimSpace(string(value)))
	}
	return values
}

// runPods returns when a Deployment's pods run. The node has the pause image.
func runPods(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	labels := map[string]any{"app": "pause"}
	deployment := map[string]any{
		"metadata": map[string]any{"name": "pause"},
		"spec": map[string]any{
			"replicas": 2, "selector": map[string]any{"matchLabels": labels},
			"template": map[string]any{
				"metadata": map[string]any{"labels": labels},
				"spec": map[string]any{"containers": []any{map[string]any{
					"name": "pause", "image": "azwi/pause:1", "imagePullPolicy": "Never",
				}}},
			},
		},
	}
	path := "/apis/apps/v1/namespaces/default/deployments"
	if _, err := c.Admin.Do(t.Context(), "POST", path, deployment, nil); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Status struct{ ReadyReplicas int }
	}
	eventually(t, time.Minute, func(ctx context.Context) error {
		_, err := c.Admin.Do(ctx, "GET", path+"/pause", nil, &got)
		if err == nil && got.Status.ReadyReplicas != 2 {
			err = errors.New("not all pods are ready")
		}
		return err
	})
}

// wantGone fails if the machine still has something of a node that was stopped.
func wantGone(t *testing.T, dir, name string) {
	t.Helper()
	// The kernel removes a network a moment after its last process.
	eventually(t, 10*time.Second, func(context.Context) error {
		if _, err := net.InterfaceByName(name); err == nil {
			return errors.New("the link " + name + " is left")
		}
		return nil
	})
	left, err := filepath.Glob("/sys/fs/cgroup/*/" + name)
	if err != nil || len(left) > 0 {
		t.Errorf("cgroups are left: %q, %v", left, err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), dir) {
		t.Errorf("mounts in %s are left, %v\n%s", dir, err, mounts)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s is left", dir)
	}
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range lines {
		if line, err := os.ReadFile(file); err == nil && strings.Contains(string(line), dir) {
			t.Errorf("%s still runs: %s", file, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
}

func eventually(t *testing.T, limit time.Duration, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%v: %v", ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func TestNodeRefusesItsOwnPlaces(t *testing.T) {
	t.Parallel()
	cluster.RequireNode(t)
	dir, err := os.MkdirTemp("/run", "azwi-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	_, err = cluster.Start(t.Context(), cluster.Config{Dir: dir, Node: true})
	if err == nil || !strings.Contains(err.Error(), "can't have its folder in /run") {
		t.Errorf("%v", err)
	}
}

func TestNodeErrorSaysAll(t *testing.T) {
	t.Parallel()
	err := &cluster.NodeError{Packages: []string{"containerd", "runc"}, Rights: []string{"root"}}
	const want = "this machine can't run a node; missing: root; Debian packages (apt-get install containerd runc)"
	if err.Error() != want {
		t.Errorf("%s", err)
	}
}

// A machine without the programs says which packages have them.
func TestCheckNodeNamesPackages(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	missing, ok := errors.AsType[*cluster.NodeError](cluster.CheckNode())
	if !ok {
		t.Fatal("nothing is missing without a PATH")
	}
	for _, name := range []string{"containerd", "runc", "iproute2", "nftables"} {
		if !slices.Contains(missing.Packages, name) {
			t.Errorf("%s is not among %q", name, missing.Packages)
		}
	}
}
