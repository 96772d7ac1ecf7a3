package images

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Names by which engines find an image's name in an OCI layout: the
// specification's is the tag, containerd's is the whole of it.
const (
	tagAnnotation        = "org.opencontainers.image.ref.name"
	containerdAnnotation = "io.containerd.image.name"
)

// WriteArchive writes an image as an archive that every engine loads: an OCI image
// layout which has, as those of `docker save`, manifest.json too.
func (i *Image) WriteArchive(file string) error {
	entries, err := i.archiveEntries()
	if err != nil {
		return fmt.Errorf("archive %s: %w", i.Reference, err)
	}
	var out bytes.Buffer
	if err := writeTar(&out, withFolders(entries), time.Unix(0, 0)); err != nil {
		return fmt.Errorf("archive %s: %w", i.Reference, err)
	}
	return os.WriteFile(file, out.Bytes(), 0o644)
}

func (i *Image) archiveEntries() ([]entry, error) {
	var entries []entry
	blob := func(content []byte, digest v1.Hash) string {
		path := "blobs/" + digest.Algorithm + "/" + digest.Hex
		entries = append(entries, entry{name: path, mode: 0o644, content: content})
		return path
	}
	manifest, err := i.RawManifest()
	if err != nil {
		return nil, err
	}
	digest, err := i.Digest()
	if err != nil {
		return nil, err
	}
	blob(manifest, digest)
	config, err := i.RawConfigFile()
	if err != nil {
		return nil, err
	}
	configDigest, err := i.ConfigName()
	if err != nil {
		return nil, err
	}
	docker := struct {
		Config   string
		RepoTags []string
		Layers   []string
	}{Config: blob(config, configDigest), RepoTags: []string{familiar(i.Reference)}}
	layers, err := i.Layers()
	if err != nil {
		return nil, err
	}
	for _, layer := range layers {
		content, err := compressed(layer)
		if err != nil {
			return nil, err
		}
		layerDigest, err := layer.Digest()
		if err != nil {
			return nil, err
		}
		docker.Layers = append(docker.Layers, blob(content, layerDigest))
	}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{{
		MediaType: types.OCIManifestSchema1, Size: int64(len(manifest)), Digest: digest, Platform: &i.Platform,
		Annotations: map[string]string{tagAnnotation: i.Reference.TagStr(), containerdAnnotation: qualified(i.Reference)},
	}}}
	for _, f := range []struct {
		name    string
		content any
	}{
		{"index.json", index}, {"manifest.json", []any{docker}}, {"oci-layout", map[string]string{"imageLayoutVersion": "1.0.0"}},
	} {
		content, err := json.Marshal(f.content)
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry{name: f.name, mode: 0o644, content: content})
	}
	return entries, nil
}

func compressed(layer v1.Layer) ([]byte, error) {
	reader, err := layer.Compressed()
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	return io.ReadAll(reader)
}

// qualified is the reference as containerd and Kubernetes write it out.
func qualified(tag name.Tag) string { return strings.TrimPrefix(tag.Name(), "index.") }

// familiar is the reference as people write it.
func familiar(tag name.Tag) string { return strings.TrimPrefix(qualified(tag), "docker.io/") }

// ReadArchive reads the image that WriteArchive wrote, but for its SBOM. It keeps
// the archive's blobs in a folder below dir.
func ReadArchive(file, dir string) (*Image, error) {
	image, err := readArchive(file, dir)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return image, nil
}

func readArchive(file, dir string) (*Image, error) {
	dir, err := os.MkdirTemp(dir, "image-")
	if err != nil {
		return nil, err
	}
	if err := unpack(file, dir); err != nil {
		return nil, err
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(manifest.Manifests) != 1 || manifest.Manifests[0].Platform == nil {
		return nil, errors.New("it is none of our archives: they hold one image for one platform")
	}
	described := manifest.Manifests[0]
	reference, err := name.NewTag(described.Annotations[containerdAnnotation])
	if err != nil {
		return nil, err
	}
	image, err := index.Image(described.Digest)
	if err != nil {
		return nil, err
	}
	return &Image{Image: image, Reference: reference, Platform: *described.Platform}, nil
}

func unpack(file, dir string) error {
	archive, err := os.Open(file)
	if err != nil {
		return err
	}
	defer archive.Close()
	root, err := os.OpenRoot(dir) // no name in an archive leads out of it
	if err != nil {
		return err
	}
	defer root.Close()
	for reader := tar.NewReader(archive); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Typeflag == tar.TypeDir {
			continue
		}
		if err := root.MkdirAll(filepath.Dir(header.Name), 0o755); err != nil {
			return err
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			return err
		}
		if err := root.WriteFile(header.Name, content, 0o644); err != nil {
			return err
		}
	}
}
