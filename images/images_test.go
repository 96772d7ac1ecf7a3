package images_test

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"azwi/images"
)

var created = time.Unix(1_700_000_000, 0)

// build compiles this module's own command: a program with a few modules in it.
func build(t *testing.T, dir, arch string, env ...string) string {
	t.Helper()
	binary := filepath.Join(dir, "images")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", binary, "./cmd/images")
	cmd.Env = append(os.Environ(), append([]string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch}, env...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

func spec(t *testing.T, binary string) images.Spec {
	t.Helper()
	return images.Spec{
		Reference: "azwi/images:v1.2.3", Title: "images", Description: "A test's", Revision: "0123456789ab",
		Binary: binary, Args: []string{"build", "-h"}, User: images.ProxyUser, Folder: "/data", Licence: "../LICENSE", Created: created,
	}
}

func mustBuild(t *testing.T, s images.Spec) *images.Image {
	t.Helper()
	image, err := images.Build(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func digest(t *testing.T, image v1.Image) string {
	t.Helper()
	d, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

func TestSameInputsSameDigest(t *testing.T) {
	t.Parallel()
	first := mustBuild(t, spec(t, build(t, t.TempDir(), "amd64")))
	second := mustBuild(t, spec(t, build(t, t.TempDir(), "amd64")))
	if a, b := digest(t, first), digest(t, second); a != b {
		t.Errorf("%s, then %s", a, b)
	}
	if !bytes.Equal(first.SBOM, second.SBOM) {
		t.Error("the SBOM differs")
	}
	var archives [2][]byte
	for i, image := range []*images.Image{first, second} {
		file := filepath.Join(t.TempDir(), "image.tar")
		if err := image.WriteArchive(file); err != nil {
			t.Fatal(err)
		}
		var err error
		if archives[i], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("the archives differ")
	}
}

func TestContents(t *testing.T) {
	t.Parallel()
	image := mustBuild(t, spec(t, build(t, t.TempDir(), "arm64")))
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if got := config.Platform().String(); got != "linux/arm64" {
		t.Errorf("platform %s", got)
	}
	if !slices.Equal(config.Config.Entrypoint, []string{"/images"}) || config.Config.User != "1501:1501" || !config.Created.Equal(created) {
		t.Errorf("configuration %+v", config)
	}
	for key, want := range map[string]string{
		"org.opencontainers.image.version": "v1.2.3", "org.opencontainers.image.revision": "0123456789ab",
		"org.opencontainers.image.licenses": "Apache-2.0", "org.opencontainers.image.created": "2023-11-14T22:13:20Z",
	} {
		if got := config.Config.Labels[key]; got != want {
			t.Errorf("label %s is %q, want %q", key, got, want)
		}
	}

	files, licences := map[string][]byte{}, 0
	reader := mutate.Extract(image)
	defer reader.Close()
	for archive := tar.NewReader(reader); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !header.ModTime.Equal(created) {
			t.Errorf("%s has the time %s", header.Name, header.ModTime)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(header.Name, "licenses") {
			licences++
		} else {
			files[header.FileInfo().Mode().String()+" "+strings.TrimSuffix(header.Name, "/")] = content
		}
		if want := map[string]int{"data": images.ProxyUser}[strings.TrimSuffix(header.Name, "/")]; header.Uid != want || header.Gid != want {
			t.Errorf("%s belongs to %d:%d", header.Name, header.Uid, header.Gid)
		}
	}
	want := []string{
		"-rw-r--r-- etc/group", "-rw-r--r-- etc/passwd", "-rw-r--r-- etc/ssl/certs/ca-certificates.crt", "-rwxr-xr-x images",
		"drwx------ data", "drwxr-xr-x etc", "drwxr-xr-x etc/ssl", "drwxr-xr-x etc/ssl/certs",
	}
	var got []string
	for name := range files {
		got = append(got, name)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("it holds %q, want %q", got, want)
	}
	if licences < 10 {
		t.Errorf("only %d licence files and folders", licences)
	}
	if users := string(files["-rw-r--r-- etc/passwd"]); !strings.Contains(users, ":1501:1501:") || !strings.Contains(users, ":65532:65532:") {
		t.Errorf("users %s", users)
	}
	// What Entra's and Azure's certificates are signed by.
	roots := files["-rw-r--r-- etc/ssl/certs/ca-certificates.crt"]
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(roots) {
		t.Fatal("no CA roots")
	}
	for _, root := range []string{"DigiCert Global Root G2", "Microsoft RSA Root Certificate Authority 2017"} {
		if !slices.ContainsFunc(pool.Subjects(), func(subject []byte) bool { return bytes.Contains(subject, []byte(root)) }) { //nolint:staticcheck // complete for a pool of our own
			t.Errorf("%s is not among the CA roots", root)
		}
	}
}

func TestSBOM(t *testing.T) {
	t.Parallel()
	image := mustBuild(t, spec(t, build(t, t.TempDir(), "amd64")))
	var document struct {
		SPDXVersion   string
		Packages      []struct{ SPDXID, Name, VersionInfo, LicenseDeclared string }
		Relationships []struct{ SPDXElementID, RelationshipType, RelatedSPDXElement string }
	}
	if err := json.Unmarshal(image.SBOM, &document); err != nil {
		t.Fatal(err)
	}
	known, related := map[string]string{}, map[string]int{}
	for _, p := range document.Packages {
		known[p.Name] = p.LicenseDeclared
		if p.VersionInfo == "" || p.SPDXID == "" {
			t.Errorf("package %+v", p)
		}
	}
	for _, r := range document.Relationships {
		related[r.RelatedSPDXElement]++
	}
	for _, p := range document.Packages {
		if related[p.SPDXID] != 1 {
			t.Errorf("%s is related %d times", p.Name, related[p.SPDXID])
		}
	}
	for name, licence := range map[string]string{
		"std": "BSD-3-Clause", "github.com/google/go-containerregistry": "Apache-2.0", "golang.org/x/crypto/x509roots/fallback": "BSD-3-Clause",
	} {
		if known[name] != licence {
			t.Errorf("%s has the licence %q, want %q", name, known[name], licence)
		}
	}
}

// The image's files are all that its program needs.
func TestRuns(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("this test changes the root folder: it needs root")
	}
	image := mustBuild(t, spec(t, build(t, t.TempDir(), "")))
	root := t.TempDir()
	unpack := exec.CommandContext(t.Context(), "tar", "-x", "-C", root)
	reader := mutate.Extract(image)
	defer reader.Close()
	unpack.Stdin = reader
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := exec.CommandContext(t.Context(), "/images", "push")
	run.Err = nil // it is there once the root is another
	run.Dir, run.Env = "/", []string{}
	run.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: images.ProxyUser, Gid: images.ProxyUser}}
	out, err := run.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 || !bytes.Contains(out, []byte("-registry is needed")) {
		t.Errorf("it ends with %v and says %s", err, out)
	}
}

func TestArchive(t *testing.T) {
	t.Parallel()
	image := mustBuild(t, spec(t, build(t, t.TempDir(), "amd64")))
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := image.WriteArchive(file); err != nil {
		t.Fatal(err)
	}
	read, err := images.ReadArchive(file, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(read); err != nil {
		t.Error(err)
	}
	if got, want := digest(t, read), digest(t, image); got != want || read.Reference.Name() != image.Reference.Name() || !read.Platform.Equals(image.Platform) {
		t.Errorf("read %s %s %s, wrote %s %s %s", read.Reference, read.Platform, got, image.Reference, image.Platform, want)
	}
	// Docker reads manifest.json.
	docker, err := tarball.ImageFromPath(file, &image.Reference)
	if err != nil {
		t.Fatal(err)
	}
	got, err := docker.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	if want, err := image.ConfigName(); err != nil || got != want {
		t.Errorf("Docker reads the configuration %s, want %s, %v", got, want, err)
	}
}

func TestPush(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(t.Output(), "", 0))))
	defer server.Close()
	var built []*images.Image
	for _, arch := range []string{"amd64", "arm64"} {
		built = append(built, mustBuild(t, spec(t, build(t, t.TempDir(), arch))))
	}
	pushed, err := images.Push(t.Context(), strings.TrimPrefix(server.URL, "http://")+"/team", built)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(pushed.Context().Name() + ":v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	if got := tag.RepositoryStr(); got != "team/azwi/images" {
		t.Errorf("pushed to %s", got)
	}
	index, err := remote.Index(tag)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	if got, err := index.Digest(); err != nil || got.String() != pushed.DigestStr() {
		t.Errorf("the tag is %s, %v; pushed %s", got, err, pushed)
	}
	for _, image := range built {
		got, err := remote.Image(tag, remote.WithPlatform(image.Platform))
		if err != nil {
			t.Fatal(err)
		}
		if digest(t, got) != digest(t, image) {
			t.Errorf("%s: pulled %s, pushed %s", image.Platform, digest(t, got), digest(t, image))
		}
		referrers, err := remote.Referrers(tag.Context().Digest(digest(t, image)))
		if err != nil {
			t.Fatal(err)
		}
		manifest, err := referrers.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		if len(manifest.Manifests) != 1 {
			t.Fatalf("%s: %d artifacts refer to it", image.Platform, len(manifest.Manifests))
		}
		sbom, err := remote.Image(tag.Context().Digest(manifest.Manifests[0].Digest.String()))
		if err != nil {
			t.Fatal(err)
		}
		layers, err := sbom.Layers()
		if err != nil {
			t.Fatal(err)
		}
		content, err := layers[0].Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(content); err != nil || !bytes.Equal(got, image.SBOM) {
			t.Errorf("%s: the SBOM came back as %.100s, %v", image.Platform, got, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	good := build(t, t.TempDir(), "amd64")
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, want string
		change     func(*images.Spec)
	}{
		{"no tag", "no tag", func(s *images.Spec) { s.Reference = "azwi/images" }},
		{"not a reference", "repository can only contain", func(s *images.Spec) { s.Reference = "Azwi/ images:1" }},
		{"no program", "no such file", func(s *images.Spec) { s.Binary += "s" }},
		{"a script", "could not read Go build info", func(s *images.Spec) { s.Binary = text }},
		{"a dynamic program", "CGO_ENABLED=0", func(s *images.Spec) {
			s.Binary = build(t, t.TempDir(), "", "CGO_ENABLED=1")
		}},
		{"no licence", "no such file", func(s *images.Spec) { s.Licence = "NOWHERE" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := spec(t, good)
			c.change(&s)
			if _, err := images.Build(t.Context(), s); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
