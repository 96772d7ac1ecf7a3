package manifest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Stdin is how standard input is named in positions.
const Stdin = "<stdin>"

// maxFile bounds a file in bytes: 64 MiB, more than a cluster's manifests.
const maxFile = 64 << 20

// A File is a text with manifests.
type File struct {
	// Name as given, or Stdin.
	Name string
	// Documents together are the whole text.
	Documents []*Document
	// Named is set where the file itself was named, or is standard input, rather
	// than found in a folder.
	Named bool
}

// Read reads files, folders (their *.yaml, *.yml and *.json, below them too if
// recursive) and standard input, named "-". A file that is named is read whatever
// it is called. Of a Helm chart's folder of templates it makes one file, whose
// document has the error ErrChart. The error tells which name is of no use;
// mistakes inside of files are in their documents.
func Read(stdin io.Reader, names []string, recursive bool) ([]*File, error) {
	var files []*File
	for i, name := range names {
		if name == "-" {
			if slices.Contains(names[:i], "-") {
				return nil, errors.New("standard input can be read only once: name - once")
			}
			file, err := read(stdin, Stdin)
			if err != nil {
				return nil, err
			}
			file.Named = true
			files = append(files, file)
			continue
		}
		paths, err := list(name, recursive)
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			if isTemplates(path) {
				files = append(files, chartFile(path))
				continue
			}
			file, err := open(path)
			if err != nil {
				return nil, err
			}
			file.Named = path == name
			files = append(files, file)
		}
	}
	return files, nil
}

// list returns the file itself, or those of the folder in the order of their names.
func list(name string, recursive bool) ([]string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{name}, nil
	}
	var paths []string
	err = filepath.WalkDir(name, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (path == name || recursive) && isTemplates(path):
			paths = append(paths, path)
			return fs.SkipDir
		case entry.IsDir() && path != name && !recursive:
			return fs.SkipDir
		case entry.IsDir():
			return nil
		case slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(filepath.Ext(path))):
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("%s: no .yaml, .yml or .json file in this folder; -R looks in folders below it too", name)
	}
	return paths, nil
}

func open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return read(f, path)
}

func read(r io.Reader, name string) (*File, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s: larger than %d MiB", name, maxFile>>20)
	}
	return Parse(name, text), nil
}

// ErrChart is wrapped by the error of a document that stands for the templates of a
// Helm chart.
var ErrChart = errors.New("these are templates of a Helm chart, which are not manifests until they are rendered")

// isTemplates reports whether the path is a chart's folder of templates.
func isTemplates(path string) bool {
	path, err := filepath.Abs(path)
	if err != nil || filepath.Base(path) != "templates" {
		return false
	}
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return false
	}
	_, err = os.Stat(filepath.Join(filepath.Dir(path), "Chart.yaml"))
	return err == nil
}

func chartFile(path string) *File {
	return &File{Name: path, Documents: []*Document{{File: path, Line: 1, Err: fmt.Errorf("%s: %w", path, ErrChart)}}}
}
