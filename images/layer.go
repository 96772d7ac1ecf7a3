package images

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
	"golang.org/x/mod/modfile"
)

// entry is a file or folder of an image; name has no leading slash, a folder's
// ends with one.
type entry struct {
	name    string
	mode    int64
	owner   int
	content []byte
}

const (
	passwd = `root:x:0:0:root:/:/sbin/nologin
azwi-proxy:x:1501:1501:azwi-proxy:/:/sbin/nologin
nonroot:x:65532:65532:nonroot:/:/sbin/nologin
`
	group = `root:x:0:
azwi-proxy:x:1501:
nonroot:x:65532:
`
	// rootsFile is the first place where Go, and most others, look.
	rootsFile = "etc/ssl/certs/ca-certificates.crt"
)

// layer is the one layer of the image.
func (s Spec) layer(parts []part) (v1.Layer, error) {
	program, err := os.ReadFile(s.Binary)
	if err != nil {
		return nil, err
	}
	licence, err := os.ReadFile(s.Licence)
	if err != nil {
		return nil, err
	}
	roots, err := rootsPEM()
	if err != nil {
		return nil, err
	}
	entries := []entry{
		{name: filepath.Base(s.Binary), mode: 0o755, content: program},
		{name: "etc/passwd", mode: 0o644, content: []byte(passwd)},
		{name: "etc/group", mode: 0o644, content: []byte(group)},
		{name: rootsFile, mode: 0o644, content: roots},
		{name: "licenses/" + ours + "/LICENSE", mode: 0o644, content: licence},
	}
	if s.Folder != "" {
		entries = append(entries, entry{name: strings.Trim(s.Folder, "/") + "/", mode: 0o700, owner: s.User})
	}
	for _, p := range parts {
		for _, f := range p.Licences {
			entries = append(entries, entry{name: path.Join("licenses", p.Path, f.name), mode: 0o644, content: f.content})
		}
	}
	var layer bytes.Buffer
	if err := writeTar(&layer, withFolders(entries), s.Created); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(gzip.BestSpeed), tarball.WithCompressedCaching,
	)
}

// withFolders adds the folders that the entries are in, and sorts them all.
func withFolders(entries []entry) []entry {
	have := map[string]bool{"./": true}
	for _, e := range entries {
		have[e.name] = true
	}
	for _, e := range slices.Clone(entries) {
		for dir := path.Dir(strings.TrimSuffix(e.name, "/")) + "/"; !have[dir]; dir = path.Dir(strings.TrimSuffix(dir, "/")) + "/" {
			have[dir] = true
			entries = append(entries, entry{name: dir, mode: 0o755})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return entries
}

// writeTar writes the entries in the order they are in, all of one time.
func writeTar(w io.Writer, entries []entry, at time.Time) error {
	archive := tar.NewWriter(w)
	for _, e := range entries {
		header := &tar.Header{Name: e.name, Mode: e.mode, Uid: e.owner, Gid: e.owner, Size: int64(len(e.content)), ModTime: at, Typeflag: tar.TypeReg, Format: tar.FormatPAX}
		if strings.HasSuffix(e.name, "/") {
			header.Typeflag = tar.TypeDir
		}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(e.content); err != nil {
			return err
		}
	}
	return archive.Close()
}

// rootsPEM is Mozilla's list of authorities, from a Go module of fixed version. It
// leaves out those that are trusted for older certificates only: this file format
// can't say so.
func rootsPEM() ([]byte, error) {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return nil, err
		}
	}
	if out.Len() == 0 {
		return nil, errors.New("the module of CA roots has none")
	}
	return out.Bytes(), nil
}

// goMod is this module's own list of versions. The program can't ask its build
// information: that of a test has none.
//
//go:embed go.mod
var goMod []byte

// rootsModule is the module that rootsPEM comes from.
func rootsModule() (*debug.Module, error) {
	own, err := modfile.Parse("go.mod", goMod, nil)
	if err != nil {
		return nil, err
	}
	for _, need := range own.Require {
		if need.Mod.Path == rootsPath {
			return &debug.Module{Path: need.Mod.Path, Version: need.Mod.Version}, nil
		}
	}
	return nil, errors.New("go.mod does not require " + rootsPath)
}
