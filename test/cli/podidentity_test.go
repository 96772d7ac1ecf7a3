package cli_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"sigs.k8s.io/yaml"

	"azwi/test/cluster"
)

func TestPodIdentity(t *testing.T) {
	suite{
		folder: "podidentity", cluster: podIdentityCluster(t),
		commands: map[string]func(ts *testscript.TestScript, neg bool, args []string){"mask": mask, "same": same},
	}.run(t)
}

// same compares two files of manifests as objects: `same A B`.
func same(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: same A B")
	}
	var objects [2][]any
	for i, name := range args {
		for document := range strings.SplitSeq(ts.ReadFile(name), "\n---\n") {
			var o any
			ts.Check(yaml.Unmarshal([]byte(document), &o))
			objects[i] = append(objects[i], o)
		}
	}
	if diff := cmp.Diff(objects[0], objects[1]); (diff == "") == neg {
		ts.Fatalf("%s and %s: %s", args[0], args[1], diff)
	}
}

// mask copies a file with NAMESPACE in place of the script's namespace: `mask FROM TO`.
func mask(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: mask FROM TO")
	}
	text := strings.ReplaceAll(ts.ReadFile(args[0]), ts.Getenv("NAMESPACE"), "NAMESPACE")
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o600))
}

// podIdentityCluster has controllers, so that workloads have pods, and the kinds of
// aad-pod-identity.
func podIdentityCluster(t *testing.T) *cluster.Cluster {
	t.Helper()
	c, err := cluster.Start(t.Context(), cluster.Config{ControllerManager: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	for _, args := range [][]string{
		{"apply", "-f", "testdata/podidentity/crds.yaml"},
		{"wait", "--for=condition=Established", "--timeout=30s", "crd/azureidentities.aadpodidentity.k8s.io", "crd/azureidentitybindings.aadpodidentity.k8s.io"},
	} {
		out, err := exec.CommandContext(t.Context(), c.Binary, append([]string{"kubectl", "--kubeconfig", c.Kubeconfig}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return c
}
