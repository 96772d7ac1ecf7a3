package doctor_test

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"azwi/contract"
)

// bundle: azwi support-bundle has what doctor and status find, and neither tokens nor
// secrets nor, if asked, GUIDs. There is no node, so it says that there are no logs.
func (w world) bundle(t *testing.T) {
	t.Parallel()
	namespace, err := w.c.NewNamespace(t.Context(), "bundle")
	if err != nil {
		t.Fatal(err)
	}
	const secret, token = "5up3r-5ecr3t", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"
	m := mistake{Pod: object{}, Credential: "absent"}
	w.plant(t, namespace, m)
	w.do(t, "POST", "/api/v1/namespaces", object{"metadata": object{"name": system}})
	w.do(t, "POST", "/api/v1/namespaces/"+system+"/serviceaccounts", object{"metadata": object{"name": "webhook"}})
	w.do(t, "POST", "/api/v1/namespaces/"+system+"/pods", object{
		"metadata": object{"name": "webhook-1", "labels": object{"azure-workload-identity.io/system": "true"}},
		"spec": object{"serviceAccountName": "webhook", "containers": []any{object{"name": "manager", "image": "webhook:v1", "env": []any{
			object{"name": "AZURE_CLIENT_SECRET", "value": secret}, object{"name": "LOG_LEVEL", "value": "debug"},
		}}}},
	})
	for _, event := range []struct{ of, name, message string }{
		{namespace, "about", "AADSTS700016: " + clientID + " client_secret=" + secret + " " + token},
		{namespace, "other", "pulled the image of something else"},
		{system, "scheduling", "no node is available"},
	} {
		w.do(t, "POST", "/api/v1/namespaces/"+event.of+"/events", object{
			"metadata": object{"name": event.name}, "involvedObject": object{"kind": "Pod", "namespace": event.of, "name": "orders-1"}, "message": event.message, "type": "Warning",
		})
	}
	at := w.machine(t, namespace, m)
	dir := t.TempDir()
	for _, row := range []struct {
		name string
		args []string
		has  []string
		lack string
	}{
		{"all", nil, []string{contract.Subject(namespace, "orders"), clientID}, secret},
		{"redacted", []string{"--redact-ids"}, []string{contract.Subject(namespace, "orders"), "id-1"}, clientID},
	} {
		file := filepath.Join(dir, row.name+".tar.gz")
		args := append([]string{"support-bundle", file, "--reads-per-second=0"}, row.args...)
		if out, stderr, code := at.run(t, w.binary, args...); code != 1 || !strings.Contains(stderr, "--yes") || !strings.Contains(string(out), "doctor.json") {
			t.Errorf("unasked: exit code %d: %s%s", code, out, stderr)
		}
		if out, stderr, code := at.run(t, w.binary, append(args, "--dry-run")...); code != 0 || !strings.Contains(string(out), "doctor.json") {
			t.Errorf("dry run: exit code %d: %s%s", code, out, stderr)
		}
		if _, err := os.Stat(file); err == nil {
			t.Error("the file was written unasked")
		}
		out, stderr, code := at.run(t, w.binary, append(args, "--yes")...)
		if code != 0 || !strings.Contains(string(out), "no container of pod webhook-1 was started") {
			t.Fatalf("exit code %d: %s%s", code, out, stderr)
		}
		files := unpack(t, file)
		all := strings.Join(slices.Sorted(maps.Values(files)), "\n")
		for _, has := range append(row.has, "credential-missing", "AADSTS700016", "no node is available", "LOG_LEVEL", "[removed]") {
			if !strings.Contains(all, has) {
				t.Errorf("%s: the bundle lacks %q: %s", row.name, has, all)
			}
		}
		for _, lack := range []string{row.lack, secret, "eyJ", "something else"} {
			if strings.Contains(all, lack) {
				t.Errorf("%s: %q is in the bundle", row.name, lack)
			}
		}
		if row.name == "redacted" && regexp.MustCompile(`[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-`).MatchString(all) {
			t.Errorf("a GUID is in the bundle: %s", all)
		}
		if !strings.Contains(files["azwi-support/missing.txt"], "logs: ") {
			t.Errorf("missing.txt says %q", files["azwi-support/missing.txt"])
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
		if _, stderr, code := at.run(t, w.binary, args...); code != 1 || !strings.Contains(stderr, "exists already") {
			t.Errorf("twice: exit code %d: %s", code, stderr)
		}
	}
	w.bundleWithoutRights(t, at, dir)
}

// bundleWithoutRights: the bundle says which rights are lacking.
func (w world) bundleWithoutRights(t *testing.T, at machine, dir string) {
	t.Helper()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := w.c.WriteKubeconfig(kubeconfig, "nobody"); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "nobody.tar.gz")
	out, stderr, code := at.run(t, w.binary, "support-bundle", file, "--yes", "--kubeconfig", kubeconfig)
	if code != 3 {
		t.Errorf("exit code %d: %s%s", code, out, stderr)
	}
	for _, right := range []string{"list on serviceaccounts", "list on pods in namespace " + system, "list on events"} {
		if !strings.Contains(string(out), right) || !strings.Contains(unpack(t, file)["azwi-support/missing.txt"], right) {
			t.Errorf("it does not say %q: %s%s", right, out, stderr)
		}
	}
}

// unpack reads an archive.
func unpack(t *testing.T, name string) map[string]string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // it was only read
	plain, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files, archive := map[string]string{}, tar.NewReader(plain)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = string(text)
	}
}
