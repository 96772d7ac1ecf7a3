package images

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"

	"golang.org/x/mod/module"
)

// A part is foreign code in an image: a module, or Go's own library.
type part struct {
	Path, Version, Sum string
	// Licences are its licence files.
	Licences []file
}

type file struct {
	name    string
	content []byte
}

const (
	ours         = "azwi" // the path of the product's module, and the beginning of the others
	goModule     = "std"
	rootsPath    = "golang.org/x/crypto/x509roots/fallback"
	maxLicence   = 1 << 20
	unknownTerms = "NOASSERTION" // SPDX: nobody has said
)

// findParts returns what a program was linked from, with the licences out of the
// module cache and the toolchain that built it, and the CA roots.
func findParts(ctx context.Context, info *buildinfo.BuildInfo) ([]part, error) {
	var env struct{ GOMODCACHE, GOROOT string }
	out, err := exec.CommandContext(ctx, "go", "env", "-json", "GOMODCACHE", "GOROOT").Output()
	if err == nil {
		err = json.Unmarshal(out, &env)
	}
	if err != nil {
		return nil, fmt.Errorf("ask go where modules lie: %w", err)
	}
	parts := []part{{Path: goModule, Version: info.GoVersion}}
	if parts[0].Licences, err = licenceFiles(env.GOROOT); err != nil {
		return nil, err
	}
	roots, err := rootsModule()
	if err != nil {
		return nil, err
	}
	deps := slices.Clone(info.Deps)
	if !slices.ContainsFunc(deps, func(dep *debug.Module) bool { return dep.Path == roots.Path }) {
		deps = append(deps, roots)
	}
	for _, dep := range deps {
		for dep.Replace != nil {
			dep = dep.Replace
		}
		if dep.Path == ours || strings.HasPrefix(dep.Path, ours+"/") || strings.HasPrefix(dep.Path, ".") {
			continue
		}
		dir, err := moduleDir(env.GOMODCACHE, dep.Path, dep.Version)
		if err != nil {
			return nil, err
		}
		licences, err := licenceFiles(dir)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part{Path: dep.Path, Version: dep.Version, Sum: dep.Sum, Licences: licences})
	}
	return parts, nil
}

func moduleDir(cache, path, version string) (string, error) {
	escapedPath, err := module.EscapePath(path)
	if err != nil {
		return "", err
	}
	escapedVersion, err := module.EscapeVersion(version)
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, escapedPath+"@"+escapedVersion), nil
}

// licenceFiles reads the licence files of a folder; having none is an error, as
// nearly every licence asks to be passed on with the program.
func licenceFiles(dir string) ([]file, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("look for licences (go mod download brings missing modules): %w", err)
	}
	named := regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([._-].*)?$`)
	var found []file
	for _, entry := range entries {
		if !entry.Type().IsRegular() || !named.MatchString(entry.Name()) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, err
		}
		if len(content) > maxLicence {
			return nil, fmt.Errorf("%s in %s is too big for a licence", entry.Name(), dir)
		}
		found = append(found, file{entry.Name(), content})
	}
	if len(found) == 0 {
		return nil, errors.New("no licence file in " + dir)
	}
	return found, nil
}

// terms is the SPDX identifier of the part's licence, if its text is one that we
// know for certain by its own words.
func (p part) terms() string {
	for _, licence := range p.Licences {
		text := bytes.Join(bytes.Fields(licence.content), []byte(" "))
		has := func(words string) bool { return bytes.Contains(text, []byte(words)) }
		switch {
		case has("Apache License Version 2.0, January 2004"):
			return "Apache-2.0"
		case has("Mozilla Public License Version 2.0"), has("Mozilla Public License, version 2.0"):
			return "MPL-2.0"
		case has("Redistribution and use in source and binary forms") && (has("Neither the name") || has("The names of its contributors may not")):
			return "BSD-3-Clause"
		case has("Redistribution and use in source and binary forms"):
			return "BSD-2-Clause"
		case has("Permission is hereby granted, free of charge, to any person obtaining a copy"):
			return "MIT"
		case has("Permission to use, copy, modify, and/or distribute this software"),
			has("Permission to use, copy, modify, and distribute this software"):
			return "ISC"
		}
	}
	return unknownTerms
}
