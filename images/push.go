package images

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const spdxType types.MediaType = "application/spdx+json"

// Push writes the images, one reference for several platforms, to the registry as
// REGISTRY/REFERENCE, and refers each SBOM to its image. It returns what was
// pushed, with the digest.
func Push(ctx context.Context, registry string, images []*Image, options ...remote.Option) (name.Digest, error) {
	if len(images) == 0 {
		return name.Digest{}, errors.New("push: no images")
	}
	pushed, err := push(ctx, registry, images, options)
	if err != nil {
		return pushed, fmt.Errorf("push %s to %s: %w", familiar(images[0].Reference), registry, err)
	}
	return pushed, nil
}

func push(ctx context.Context, registry string, images []*Image, options []remote.Option) (name.Digest, error) {
	var none name.Digest
	options = append(options, remote.WithContext(ctx))
	tag, err := name.NewTag(registry + "/" + familiar(images[0].Reference))
	if err != nil {
		return none, err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, image := range images {
		if image.Reference != images[0].Reference {
			return none, fmt.Errorf("%s is another image", familiar(image.Reference))
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image.Image, Descriptor: v1.Descriptor{Platform: &image.Platform},
		})
	}
	if err := remote.WriteIndex(tag, index, options...); err != nil {
		return none, err
	}
	for _, image := range images {
		if err := pushSBOM(tag.Context(), image, options); err != nil {
			return none, fmt.Errorf("its SBOM: %w", err)
		}
	}
	digest, err := index.Digest()
	return tag.Context().Digest(digest.String()), err
}

// pushSBOM writes the SBOM as an artifact whose subject is the image (OCI image
// specification 1.1, manifest.md "subject").
func pushSBOM(repository name.Repository, image *Image, options []remote.Option) error {
	if len(image.SBOM) == 0 {
		return nil
	}
	artifact := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), spdxType)
	artifact, err := mutate.AppendLayers(artifact, static.NewLayer(image.SBOM, spdxType))
	if err != nil {
		return err
	}
	digest, err := image.Digest()
	if err != nil {
		return err
	}
	size, err := image.Size()
	if err != nil {
		return err
	}
	referring, ok := mutate.Subject(artifact, v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: digest, Size: size}).(v1.Image)
	if !ok {
		return errors.New("it is no image")
	}
	sbomDigest, err := referring.Digest()
	if err != nil {
		return err
	}
	return remote.Write(repository.Digest(sbomDigest.String()), referring, options...)
}
