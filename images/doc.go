// Package images makes OCI images from empty, without a container engine: one
// static Go program, CA roots, users, and the licences of all that is linked into
// the program. The same inputs give the same digest.
//
// It owns what is in an image, its SBOM, the archive that container engines load,
// and the push to a registry. It compiles nothing, and knows no Kubernetes.
package images
