package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestRelease packs this very command as if it were azwi, for two platforms: the files
// are all there, open, hold what they must, sha256sum accepts the sums, and a second
// run gives the same to the byte.
func TestRelease(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, program := range []string{"linux-amd64/azwi", "linux-amd64/azwi-emulator", "windows-arm64/azwi.exe"} {
		platform, name, _ := strings.Cut(program, "/")
		goos, goarch, _ := strings.Cut(platform, "-")
		cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", filepath.Join(dir, "programs", platform, name), ".")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	changelog := filepath.Join(dir, "CHANGELOG.md")
	if err := os.WriteFile(changelog, []byte("# Changelog\n\n## v1.2.3 (today)\n\n- All is new.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	pack := func(out string) map[string][]byte {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if code := run([]string{
			"-programs=" + filepath.Join(dir, "programs"), "-out=" + out, "-version=v1.2.3", "-epoch=1700000000", "-licence=../../../LICENSE", "-changelog=" + changelog,
			"-deploy=../../../deploy", "-chart=../../../charts/workload-identity-webhook", "-registry=registry.example/team",
		}, nil, &stdout, &stderr); code != 0 {
			t.Fatalf("exit code %d: %s", code, &stderr)
		}
		files := map[string][]byte{}
		found, err := os.ReadDir(out)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			if files[f.Name()], err = os.ReadFile(filepath.Join(out, f.Name())); err != nil {
				t.Fatal(err)
			}
		}
		return files
	}
	out := filepath.Join(dir, "release")
	files := pack(out)
	for _, name := range []string{
		"NOTES.md", "sha256sums.txt", "azwi-v1.2.3-linux-amd64.tar.gz", "azwi_v1.2.3_linux_amd64.spdx.json",
		"azwi-v1.2.3-windows-arm64.zip", "azwi_v1.2.3_windows_arm64.spdx.json",
		"azwi-emulator_v1.2.3_linux_amd64.tar.gz", "azwi-emulator_v1.2.3_linux_amd64.spdx.json",
		"azure-wi-webhook.yaml", "azure-wi-policy.yaml", "workload-identity-webhook-1.2.3.tgz", "index.yaml",
	} {
		if len(files[name]) == 0 {
			t.Errorf("no file %s", name)
		}
	}
	if len(files) != 12 {
		t.Errorf("%d files", len(files))
	}
	// A script that looks for its platform finds one file.
	for _, platform := range []string{"linux-amd64", "windows-arm64"} {
		if found := slices.DeleteFunc(slices.Collect(maps.Keys(files)), func(name string) bool { return !strings.Contains(name, platform) }); len(found) != 1 {
			t.Errorf("%s is in the names of %v", platform, found)
		}
	}
	for name, image := range map[string]string{"azure-wi-webhook.yaml": "image: registry.example/team/azwi/webhook:v1.2.3\n", "azure-wi-policy.yaml": `dyn("registry.example/team/azwi/proxy:v1.2.3")`} {
		if text := string(files[name]); !strings.Contains(text, image) || strings.Contains(text, "v2.0.0") || !strings.Contains(text, `app.kubernetes.io/version: "v1.2.3"`) {
			t.Errorf("%s:\n%s", name, text)
		}
	}
	if got := string(files["NOTES.md"]); got != "- All is new.\n" {
		t.Errorf("notes: %q", got)
	}
	check := exec.CommandContext(t.Context(), "sha256sum", "--check", "--strict", "sha256sums.txt")
	check.Dir = out
	if text, err := check.CombinedOutput(); err != nil || bytes.Count(text, []byte(": OK")) != 11 {
		t.Errorf("sha256sum: %v\n%s", err, text)
	}
	for name, names := range map[string][]string{
		"azwi":     tarNames(t, files["azwi-v1.2.3-linux-amd64.tar.gz"]),
		"azwi.exe": zipNames(t, files["azwi-v1.2.3-windows-arm64.zip"]),
	} {
		for _, want := range []string{name, "LICENSE", "licenses/std/LICENSE", "licenses/github.com/google/go-containerregistry/LICENSE"} {
			if !slices.Contains(names, want) {
				t.Errorf("the archive of %s lacks %s", name, want)
			}
		}
	}
	var sbom struct {
		Packages []struct{ Name, VersionInfo string }
	}
	if err := json.Unmarshal(files["azwi_v1.2.3_windows_arm64.spdx.json"], &sbom); err != nil {
		t.Fatal(err)
	}
	if len(sbom.Packages) < 10 || sbom.Packages[0].Name != "azwi.exe" || sbom.Packages[0].VersionInfo != "v1.2.3" {
		t.Errorf("SBOM: %+v", sbom)
	}
	for name, content := range pack(filepath.Join(dir, "again")) {
		if !bytes.Equal(content, files[name]) {
			t.Errorf("%s differs when made again", name)
		}
	}
}

func tarNames(t *testing.T, archive []byte) (names []string) {
	t.Helper()
	unpacked, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(unpacked); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Name == "azwi" && h.Mode != 0o755 {
			t.Errorf("the program's mode is %o", h.Mode)
		}
		names = append(names, h.Name)
	}
}

func zipNames(t *testing.T, archive []byte) (names []string) {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.File {
		names = append(names, f.Name)
	}
	return names
}

func TestSection(t *testing.T) {
	t.Parallel()
	const changelog = "# Changelog\n\n## Unreleased\n\n- b\n\n## v1.1.0 (2026-12-01)\n\n- a\n  a\n\n### Fixed\n\n- f\n\n## v1.0.0\n\n## v0.9.0\n\n- z\n"
	for _, test := range []struct{ version, want, err string }{
		{version: "v1.1.0", want: "- a\n  a\n\n### Fixed\n\n- f\n"},
		{version: "v0.9.0", want: "- z\n"},
		{version: "v1.1.0-3-g0123456", want: "- b\n"},
		{version: "v1.1.0-dirty", want: "- b\n"},
		{version: "0123456", want: "- b\n"},
		{version: "v1.1", want: "- b\n"},
		{version: "v1.1.1", err: `no section "## v1.1.1"`},
		{version: "v1.1.0-rc.1", err: `no section "## v1.1.0-rc.1"`},
		{version: "v1.0.0", err: "empty"},
	} {
		got, err := section(changelog, test.version)
		if got != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %q, %v", test.version, got, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"": "-version is needed", "-version=v1.0.0 -changelog=none.md": "none.md", "-version=dev -changelog=../../../CHANGELOG.md -programs=none": "no programs in none",
	} {
		var stdout, stderr bytes.Buffer
		if code := run(strings.Fields(args), nil, &stdout, &stderr); code != 1 || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: exit code %d, %q", args, code, &stderr)
		}
	}
}
