package images

import (
	"context"
	"debug/buildinfo"
	"debug/elf"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// The users that images may name: what the product's containers run as.
const (
	// Root is for the container that sets the redirect. No image runs as root
	// unless its pod says so.
	Root = 0
	// ProxyUser is the sidecar's: the redirect leaves its traffic alone.
	ProxyUser = 1501
	// NonRoot is everything else's.
	NonRoot = 65532
)

// Spec says what is in an image.
type Spec struct {
	// Reference is the image's name and tag, such as azwi/proxy:v1.2.3. Required.
	Reference string
	// Title and Description are for people, as labels.
	Title, Description string
	// Revision is the commit it is made from, as a label. Default: no label.
	Revision string
	// Binary is the file of a static Linux program, built by Go with module
	// information. It becomes the entry point /BASENAME. Required.
	Binary string
	// Args are the program's arguments when the container names none.
	Args []string
	// User is who runs it, by number: its group has the same. Default: Root.
	User int
	// Folder, if set, is an empty folder that belongs to User.
	Folder string
	// Licence is the file with the licence of the program itself. Required.
	Licence string
	// Created is the time on the image and all its files. Default: 1970, as
	// whoever wants the same digest twice needs a fixed time.
	Created time.Time
}

// Image is an image with what comes beside it.
type Image struct {
	v1.Image
	// Reference is Spec.Reference.
	Reference name.Tag
	// Platform is what the program runs on.
	Platform v1.Platform
	// SBOM lists what is in it: an SPDX 2.3 document in JSON.
	SBOM []byte
}

// Build makes an image.
func Build(ctx context.Context, s Spec) (*Image, error) {
	image, err := build(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", s.Reference, err)
	}
	return image, nil
}

func build(ctx context.Context, s Spec) (*Image, error) {
	reference, err := name.NewTag(s.Reference)
	if err != nil {
		return nil, err
	}
	if !strings.HasSuffix(s.Reference, ":"+reference.TagStr()) {
		return nil, errors.New("its reference has no tag")
	}
	if s.Created.IsZero() {
		s.Created = time.Unix(0, 0)
	}
	s.Created = s.Created.UTC()
	info, err := inspect(s.Binary)
	if err != nil {
		return nil, err
	}
	parts, err := findParts(ctx, info)
	if err != nil {
		return nil, err
	}
	layer, err := s.layer(parts)
	if err != nil {
		return nil, err
	}
	platform := v1.Platform{OS: setting(info, "GOOS"), Architecture: setting(info, "GOARCH")}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	base, err = mutate.ConfigFile(base, &v1.ConfigFile{
		OS:           platform.OS,
		Architecture: platform.Architecture,
		Created:      v1.Time{Time: s.Created},
		RootFS:       v1.RootFS{Type: "layers"},
		Config: v1.Config{
			Entrypoint: []string{"/" + filepath.Base(s.Binary)},
			Cmd:        s.Args,
			User:       fmt.Sprintf("%d:%d", s.User, s.User),
			WorkingDir: "/",
			Labels:     s.labels(reference),
		},
	})
	if err != nil {
		return nil, err
	}
	image, err := mutate.Append(base, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: v1.Time{Time: s.Created}, CreatedBy: "azwi/images"},
	})
	if err != nil {
		return nil, err
	}
	annotated, ok := mutate.Annotations(image, s.labels(reference)).(v1.Image)
	if !ok {
		return nil, errors.New("annotated, it is no image any more")
	}
	sbom, err := s.sbom(info, parts)
	if err != nil {
		return nil, err
	}
	return &Image{Image: annotated, Reference: reference, Platform: platform, SBOM: sbom}, nil
}

// labels are those of the OCI image specification, annotations.md.
func (s Spec) labels(reference name.Tag) map[string]string {
	labels := map[string]string{
		"org.opencontainers.image.title":       s.Title,
		"org.opencontainers.image.description": s.Description,
		"org.opencontainers.image.version":     reference.TagStr(),
		"org.opencontainers.image.revision":    s.Revision,
		"org.opencontainers.image.created":     s.Created.Format(time.RFC3339),
		"org.opencontainers.image.licenses":    "Apache-2.0",
	}
	for key, value := range labels {
		if value == "" {
			delete(labels, key)
		}
	}
	return labels
}

// inspect reads how a program was built, and refuses one that would not run in an
// image with nothing else in it.
func inspect(binary string) (*buildinfo.BuildInfo, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	file, err := elf.Open(binary)
	if err != nil {
		return nil, fmt.Errorf("%s is no Linux program: %w", binary, err)
	}
	defer file.Close()
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP {
			return nil, fmt.Errorf("%s is not static: build it with CGO_ENABLED=0", binary)
		}
	}
	if info.Path == "" || setting(info, "GOARCH") == "" {
		return nil, fmt.Errorf("%s does not say how it was built: use go build with modules", path.Base(binary))
	}
	return info, nil
}

func setting(info *buildinfo.BuildInfo, key string) string {
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}
