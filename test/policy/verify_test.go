package policy_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"azwi/contract"
	"azwi/internal/cli"
	"azwi/internal/pod/policy"
	"azwi/test/product"
)

// TestVerify installs what generate prints, and has verify find nothing; then each
// of several changes.
func TestVerify(t *testing.T) {
	t.Parallel()
	c := control.Start(t)
	namespace := newNamespace(t, c)
	args := []string{"--name=" + namespace, "--namespace-selector=kubernetes.io/metadata.name in (" + namespace + ")", "--token-path=both"}
	run := func(command string, more ...string) (int, string) {
		var out bytes.Buffer
		code := cli.Run(t.Context(), append(append([]string{"policy", command}, args...), more...), cli.Streams{
			In: strings.NewReader(""), Out: &out, Err: &out,
		}, func(key string) string { return map[string]string{contract.EnvTenantID: product.TenantID}[key] })
		return code, out.String()
	}
	kubeconfig := "--kubeconfig=" + c.Kubeconfig

	code, generated := run("generate")
	if code != cli.ExitOK {
		t.Fatalf("generate: %d\n%s", code, generated)
	}
	if _, again := run("generate"); again != generated {
		t.Error("generate prints something else the second time")
	}
	if code, out := run("verify", kubeconfig); code != cli.ExitDifferent || strings.Count(out, "not installed") != 8 {
		t.Errorf("verify with nothing installed: %d\n%s", code, out)
	}
	objects := decode(t, generated)
	t.Cleanup(func() {
		for _, o := range objects {
			if _, err := c.Admin.Do(context.WithoutCancel(t.Context()), "DELETE", product.PolicyPath(o), nil, nil); err != nil {
				t.Error(err)
			}
		}
	})
	for _, o := range objects {
		body, err := o.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Admin.Do(t.Context(), "POST", strings.TrimSuffix(product.PolicyPath(o), "/"+o.Metadata.Name), body, nil); err != nil {
			t.Fatal(err)
		}
	}
	if code, out := run("verify", kubeconfig); code != cli.ExitOK || out != "8 objects are as generated\n" {
		t.Errorf("verify: %d\n%s", code, out)
	}
	if code, out := run("verify", kubeconfig, "--audience=another"); code != cli.ExitDifferent || !strings.Contains(out, "MutatingAdmissionPolicy "+namespace+": spec.variables[") {
		t.Errorf("verify with another audience: %d\n%s", code, out)
	}
	for _, change := range []struct {
		path  string
		patch object
		want  string
	}{
		{product.PolicyPath(objects[0]), object{"spec": object{"failurePolicy": "Ignore"}}, `ValidatingAdmissionPolicy ` + namespace + `: spec.failurePolicy is "Ignore", generated is "Fail"`},
		{product.PolicyPath(objects[1]), object{"spec": object{"validationActions": []string{"Audit"}}}, `spec.validationActions[0] is "Audit", generated is "Deny"`},
	} {
		if _, err := c.Admin.Do(t.Context(), "PATCH", change.path, change.patch, nil); err != nil {
			t.Fatal(err)
		}
		if code, out := run("verify", kubeconfig); code != cli.ExitDifferent || !strings.Contains(out, change.want) {
			t.Errorf("verify: %d, want %q\n%s", code, change.want, out)
		}
	}
	if code, out := run("verify", "--kubeconfig=/nowhere"); code != cli.ExitError || !strings.Contains(out, "/nowhere") {
		t.Errorf("verify without a cluster: %d\n%s", code, out)
	}
}

// decode reads what generate prints.
func decode(t *testing.T, text string) []policy.Object {
	t.Helper()
	objects, err := policy.Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return objects
}
