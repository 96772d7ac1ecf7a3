package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"azwi/test/cluster"
)

// The whole life of a cluster as its user sees it.
func TestUpAndDown(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	up := []string{"up", "-dir", dir, "-api-port=0", "-etcd-port=0"}
	down := []string{"down", "-dir", dir}
	t.Cleanup(func() { runCluster(t, down...) })

	runCluster(t, up...).want(t, 0, `Kubernetes v\S+ started in .*\n(?s).*API server  https://127\.0\.0\.1:\d+\n`)
	first := load(t, dir)
	api := first.URL[strings.LastIndex(first.URL, ":")+1:]
	if out := kubectl(t, dir, "create", "deployment", "web", "--image=none"); !strings.Contains(out, "created") {
		t.Errorf("kubectl says %s", out)
	}

	// A second call changes nothing.
	runCluster(t, up...).want(t, 0, `^Already running since .*, nothing changed\.\n(?s).*https://127\.0\.0\.1:`+api)
	runCluster(t, "status", "-dir", dir).want(t, 0, `etcd +process \d+ +runs\n.*kube-apiserver +process \d+ +runs\n.*kube-controller-manager +process \d+ +runs\n`)
	if again := load(t, dir); again.Processes[1] != first.Processes[1] {
		t.Errorf("the API server was %+v and is %+v", first.Processes[1], again.Processes[1])
	}

	// One in another folder that wants the same port learns who has it, and leaves nothing.
	other := filepath.Join(t.TempDir(), "other")
	taken := `127\.0\.0\.1:` + api + ` is taken by process ` + strconv.Itoa(first.Processes[1].PID) + ` \(kube-apiserver .*API_PORT=PORT`
	runCluster(t, "up", "-dir", other, "-api-port", api, "-etcd-port=0").want(t, 1, taken)
	if _, err := os.Stat(other); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: %v", other, err)
	}

	// Stopped with its data kept, it goes on with them.
	runCluster(t, "down", "-dir", dir, "-keep").want(t, 0, `(?s)Stopped kube-controller-manager .*Stopped kube-apiserver .*Stopped etcd .*Kept its data`)
	runCluster(t, "status", "-dir", dir).want(t, 0, `^Nothing runs\.\n$`)
	runCluster(t, up...).want(t, 0, `started again, with the objects it had`)
	if out := kubectl(t, dir, "get", "deployments"); !strings.Contains(out, "web") {
		t.Errorf("kubectl says %s", out)
	}

	// When a part has crashed, up does not pretend.
	if err := load(t, dir).Processes[1].Stop(0); err != nil {
		t.Fatal(err)
	}
	runCluster(t, up...).want(t, 1, `only etcd and kube-controller-manager still run, and kube-apiserver ended`)
	runCluster(t, "status", "-dir", dir).want(t, 0, `kube-apiserver +process \d+ +HAS ENDED\n`)

	before := load(t, dir)
	runCluster(t, down...).want(t, 0, `Stopped etcd`)
	if running, _ := before.Split(); len(running) > 0 {
		t.Errorf("%+v still run", running)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", dir, err)
	}
	runCluster(t, down...).want(t, 0, `^Nothing runs`)
}

func TestUsage(t *testing.T) {
	t.Parallel()
	runCluster(t).want(t, 2, `usage: cluster COMMAND`)
	runCluster(t, "sideways").want(t, 2, `usage: cluster COMMAND`)
	runCluster(t, "up", "now").want(t, 2, `unknown argument "now"`)
	runCluster(t, "up", "-api-port=x").want(t, 2, `invalid value "x"`)
}

func TestCheck(t *testing.T) {
	if err := cluster.CheckNode(); err == nil {
		runCluster(t, "check").want(t, 0, `^This machine can run a node\.\n$`)
	}
	t.Setenv("PATH", t.TempDir())
	runCluster(t, "check").want(t, 1, `missing: .*apt-get install containerd runc`)
}

func TestDownSparesOtherFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mine := filepath.Join(dir, "mine.txt")
	if err := os.WriteFile(mine, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	runCluster(t, "down", "-dir", dir).want(t, 0, `Nothing runs`)
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}
}

type result struct {
	args   []string
	code   int
	output string
}

func runCluster(t *testing.T, args ...string) result {
	t.Helper()
	var output bytes.Buffer
	code := run(args, strings.NewReader(""), &output, &output)
	return result{args, code, output.String()}
}

func (r result) want(t *testing.T, code int, pattern string) {
	t.Helper()
	if r.code != code || !regexp.MustCompile(pattern).MatchString(r.output) {
		t.Fatalf("cluster %s: code %d, want %d and %q\n%s", strings.Join(r.args, " "), r.code, code, pattern, r.output)
	}
}

func load(t *testing.T, dir string) cluster.State {
	t.Helper()
	state, err := cluster.LoadState(dir)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func kubectl(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "kubectl"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(dir, "kubeconfig"))
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("kubectl %s: %v", strings.Join(args, " "), err)
	}
	return string(output)
}
