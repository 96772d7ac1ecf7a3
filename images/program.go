package images

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"debug/buildinfo"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// WriteProgram writes an archive of a program for people who run it without an image:
// the program, its licence and those of all that is linked into it. It is a zip if the
// file's name says so, else a gzipped tar, and the same for the same inputs. It returns
// the SBOM, an SPDX 2.3 document in JSON. Of the Spec it takes Reference, Binary,
// Licence and Created; the program may be for any platform.
func WriteProgram(ctx context.Context, s Spec, file string) (sbom []byte, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("archive %s: %w", file, err)
		}
	}()
	if s.Created.IsZero() {
		s.Created = time.Unix(0, 0)
	}
	s.Created = s.Created.UTC()
	info, err := buildinfo.ReadFile(s.Binary)
	if err != nil {
		return nil, err
	}
	parts, err := findParts(ctx, info)
	if err != nil {
		return nil, err
	}
	// CA roots are beside a program in its image, not in it.
	if !slices.ContainsFunc(info.Deps, func(d *debug.Module) bool { return d.Path == rootsPath }) {
		parts = slices.DeleteFunc(parts, func(p part) bool { return p.Path == rootsPath })
	}
	entries, err := s.program(parts)
	if err != nil {
		return nil, err
	}
	var archive bytes.Buffer
	if strings.HasSuffix(file, ".zip") {
		err = writeZip(&archive, entries, s.Created)
	} else {
		packed := gzip.NewWriter(&archive) // its header has no time and no name
		if err = writeTar(packed, entries, s.Created); err == nil {
			err = packed.Close()
		}
	}
	if err != nil {
		return nil, err
	}
	if sbom, err = s.sbom(info, parts); err != nil {
		return nil, err
	}
	return sbom, os.WriteFile(file, archive.Bytes(), 0o644)
}

// program is a program with the licences.
func (s Spec) program(parts []part) ([]entry, error) {
	program, err := os.ReadFile(s.Binary)
	if err != nil {
		return nil, err
	}
	licence, err := os.ReadFile(s.Licence)
	if err != nil {
		return nil, err
	}
	entries := []entry{
		{name: filepath.Base(s.Binary), mode: 0o755, content: program},
		{name: "LICENSE", mode: 0o644, content: licence},
	}
	for _, p := range parts {
		for _, f := range p.Licences {
			entries = append(entries, entry{name: path.Join("licenses", p.Path, f.name), mode: 0o644, content: f.content})
		}
	}
	return withFolders(entries), nil
}

func writeZip(w io.Writer, entries []entry, at time.Time) error {
	archive := zip.NewWriter(w)
	for _, e := range entries {
		header := &zip.FileHeader{Name: e.name, Method: zip.Deflate, Modified: at}
		mode := os.FileMode(e.mode) // nine bits
		if strings.HasSuffix(e.name, "/") {
			mode |= os.ModeDir
		}
		header.SetMode(mode)
		out, err := archive.CreateHeader(header)
		if err != nil {
			return err
		}
		if _, err := out.Write(e.content); err != nil {
			return err
		}
	}
	return archive.Close()
}
