package images

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// ChartSpec says what to pack of a Helm chart.
type ChartSpec struct {
	// Dir is the chart's folder. Required.
	Dir string
	// Version is the release's and the images', such as v2.1.0. The chart's own is the
	// same without the v; of a build that is no release it is that of Dir's Chart.yaml
	// with the build as a pre-release. Required.
	Version string
	// Registry has the images. Default: values have to name it.
	Registry string
	// Created is the time on the files. Default: 1970.
	Created time.Time
}

// registryKey is the chart's annotation that names the registry of the images.
const registryKey = "azwi/image-registry"

// WriteChart packs a chart into the folder out as NAME-VERSION.tgz, with index.yaml
// beside it, so that helm repo add takes the folder where it is served. It returns the
// names of both files. The same inputs give the same bytes.
func WriteChart(out string, s ChartSpec) ([]string, error) {
	names, err := writeChart(out, s)
	if err != nil {
		return nil, fmt.Errorf("pack the chart %s: %w", s.Dir, err)
	}
	return names, nil
}

func writeChart(out string, s ChartSpec) ([]string, error) {
	if s.Created.IsZero() {
		s.Created = time.Unix(0, 0)
	}
	metadata, err := os.ReadFile(filepath.Join(s.Dir, "Chart.yaml"))
	if err != nil {
		return nil, err
	}
	name, version := field(metadata, "name"), chartVersion(s.Version, field(metadata, "version"))
	for key, value := range map[string]string{"version": version, "appVersion": s.Version, registryKey: s.Registry} {
		if metadata, err = setField(metadata, key, value); err != nil {
			return nil, err
		}
	}
	var entries []entry
	err = filepath.WalkDir(s.Dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(file) == ".go" || d.Name() == ".helmignore" {
			return err
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(s.Dir, file)
		if err != nil {
			return err
		}
		if relative == "Chart.yaml" {
			content = metadata
		}
		entries = append(entries, entry{name: name + "/" + filepath.ToSlash(relative), mode: 0o644, content: content})
		return nil
	})
	if err != nil {
		return nil, err
	}
	var archive bytes.Buffer
	packed := gzip.NewWriter(&archive) // its header has no time and no name
	if err := writeTar(packed, entries, s.Created.UTC()); err != nil {
		return nil, err
	}
	if err := packed.Close(); err != nil {
		return nil, err
	}
	file := name + "-" + version + ".tgz"
	if err := os.WriteFile(filepath.Join(out, file), archive.Bytes(), 0o644); err != nil {
		return nil, err
	}
	index := chartIndex(name, file, metadata, archive.Bytes(), s.Created)
	return []string{file, "index.yaml"}, os.WriteFile(filepath.Join(out, "index.yaml"), []byte(index), 0o644)
}

// chartIndex is the index of a repository that has this one archive: Chart.yaml with
// the archive's place and digest.
func chartIndex(name, file string, metadata, archive []byte, created time.Time) string {
	at := created.UTC().Format(time.RFC3339)
	sum := sha256.Sum256(archive)
	var index strings.Builder
	fmt.Fprintf(&index, "apiVersion: v1\ngenerated: %q\nentries:\n  %s:\n  - created: %q\n    digest: %s\n    urls:\n    - %s\n", at, name, at, hex.EncodeToString(sum[:]), file)
	for line := range strings.Lines(string(metadata)) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			index.WriteString("    " + line)
		}
	}
	return index.String()
}

// chartVersion is a version as Helm wants it: SemVer 2.
func chartVersion(version, base string) string {
	if bare := strings.TrimPrefix(version, "v"); regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`).MatchString(bare) {
		return bare
	}
	return base + "-dev.g" + regexp.MustCompile(`[^0-9A-Za-z-]`).ReplaceAllString(version, "-")
}

// line finds the line of a key of Chart.yaml, whose keys are all different.
func line(key string) *regexp.Regexp {
	return regexp.MustCompile(`(?m)^( *` + regexp.QuoteMeta(key) + `: ).*$`)
}

func field(metadata []byte, key string) string {
	found := line(key).Find(metadata)
	_, value, _ := bytes.Cut(found, []byte(": "))
	return strings.Trim(string(value), `"`)
}

func setField(metadata []byte, key, value string) ([]byte, error) {
	if !line(key).Match(metadata) {
		return nil, errors.New("Chart.yaml has no " + key)
	}
	return line(key).ReplaceAllFunc(metadata, func(found []byte) []byte {
		before, _, _ := bytes.Cut(found, []byte(": "))
		return fmt.Appendf(nil, "%s: %q", before, value)
	}), nil
}
