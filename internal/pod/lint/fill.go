package lint

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/fluxcd/pkg/envsubst"

	"azwi/internal/pod/manifest"
)

// CheckValue returns an error for a value that can't stand where a placeholder is.
func CheckValue(name, value string) error {
	switch {
	case name == "":
		return errors.New("the name is missing: write NAME=VALUE")
	case strings.ContainsAny(value, "\r\n"):
		return fmt.Errorf("the value of %s has more than one line, which would move everything below it", name)
	}
	return nil
}

// Fill fills placeholders in: those that values name, and in the files that a Flux
// Kustomization of the input applies those that its spec.postBuild names. It returns
// the files, read anew where they changed, and the names of those in which no
// placeholder may be left over.
//
// https://fluxcd.io/flux/components/kustomize/kustomizations/#post-build-variable-substitution
func Fill(files []*manifest.File, values map[string]string) (filled []*manifest.File, complete map[string]bool) {
	f := filler{pattern: placeholders(), fluxes: fluxes(files), values: values}
	complete = map[string]bool{}
	for _, file := range files {
		given, whole := f.of(file.Name)
		if len(values) > 0 || whole {
			complete[file.Name] = true
		}
		var text, before []byte
		for _, d := range file.Documents {
			part := d.Text
			if len(given) > 0 || complete[file.Name] {
				part = f.fill(part, given, complete[file.Name])
			}
			before = append(before, d.Text...)
			text = append(text, f.readable(part)...)
		}
		if !bytes.Equal(text, before) {
			again := manifest.Parse(file.Name, text)
			again.Named = file.Named
			file = again
		}
		filled = append(filled, file)
	}
	return filled, complete
}

// readable returns a document that is not YAML for nothing but its placeholders with
// quotes around them, or with others in their place: ${NAME} is none in flow style,
// nor is %NAME% at the beginning of a value.
func (f *filler) readable(text []byte) []byte {
	isYAML := func(text []byte) bool {
		return !slices.ContainsFunc(manifest.Parse("", text).Documents, func(d *manifest.Document) bool { return d.Err != nil })
	}
	if !f.pattern.Match(text) || isYAML(text) {
		return text
	}
	for _, write := range []func(mark string) string{
		func(mark string) string { return `"` + mark + `"` },
		func(mark string) string { return "__" + strings.Trim(mark, marks) + "__" },
	} {
		changed := f.pattern.ReplaceAllFunc(text, func(found []byte) []byte {
			if bytes.Contains(found, []byte("{{")) {
				return found // a template, whose lines may mean anything
			}
			return []byte(write(string(found)))
		})
		if isYAML(changed) {
			return changed
		}
	}
	return text
}

// marks are the characters around the name in a placeholder.
const marks = "${}()#_<>%@[] "

// A flux is the substitution of one Flux Kustomization.
type flux struct {
	// folder that it applies, as in its spec.path, which may be relative to the
	// repository's root or be empty.
	folder string
	values map[string]string
	// whole is set where all its values are in the input.
	whole bool
}

func fluxes(files []*manifest.File) []flux {
	configs := map[string]map[string]string{}
	var found []flux
	each := func(f func(o manifest.Object)) {
		for _, file := range files {
			for _, d := range file.Documents {
				for _, o := range d.Objects() {
					f(o)
				}
			}
		}
	}
	each(func(o manifest.Object) {
		if o.APIVersion == "v1" && o.Kind == "ConfigMap" {
			configs[o.Namespace+"/"+o.Name] = stringsOf(o.Value.Get("data"))
		}
	})
	each(func(o manifest.Object) {
		build := o.Value.Get("spec", "postBuild")
		if o.Kind != "Kustomization" || !strings.HasPrefix(o.APIVersion, "kustomize.toolkit.fluxcd.io/") || !build.Exists() {
			return
		}
		folder, _ := o.Value.Get("spec", "path").Text()
		one := flux{folder: strings.Trim(path.Clean("/"+folder), "/"), values: map[string]string{}, whole: true}
		for _, from := range build.Get("substituteFrom").Items() {
			kind, _ := from.Get("kind").Text()
			name, _ := from.Get("name").Text()
			config, ok := configs[o.Namespace+"/"+name]
			if one.whole = one.whole && ok && kind == "ConfigMap"; ok {
				maps.Copy(one.values, config)
			}
		}
		maps.Copy(one.values, stringsOf(build.Get("substitute")))
		found = append(found, one)
	})
	return found
}

type filler struct {
	pattern *regexp.Regexp
	fluxes  []flux
	values  map[string]string
}

// of returns the values for a file, and whether Flux has no others. Where a file
// may be applied by several Kustomizations, those count on which they agree.
func (f *filler) of(name string) (map[string]string, bool) {
	var whose []flux
	folder := "/" + strings.Trim(path.Clean(filepath.ToSlash(filepath.Dir(name))), "/") + "/"
	for _, one := range f.fluxes {
		if one.folder != "" && strings.Contains(folder, "/"+one.folder+"/") {
			whose = append(whose, one)
		}
	}
	if len(whose) == 0 {
		whose = f.fluxes
	}
	given, whole := map[string]string{}, len(whose) > 0
	differ := map[string]bool{}
	for i, one := range whose {
		whole = whole && one.whole
		for name, value := range one.values {
			if before, ok := given[name]; i > 0 && (!ok || before != value) {
				differ[name] = true
			}
			given[name] = value
		}
		for name := range given {
			if _, ok := one.values[name]; !ok {
				differ[name] = true
			}
		}
	}
	for name := range differ {
		delete(given, name)
		whole = false
	}
	maps.Copy(given, f.values)
	return given, whole
}

// fill fills in a document. Line by line: no value has more than one.
func (f *filler) fill(text []byte, given map[string]string, defaults bool) []byte {
	return f.pattern.ReplaceAllFunc(text, func(found []byte) []byte {
		mark := string(found)
		if strings.HasPrefix(mark, "$${") {
			return found
		}
		if strings.HasPrefix(mark, "${") && !strings.HasPrefix(mark, "${{") {
			return []byte(f.variable(mark, given, defaults))
		}
		if value, ok := given[strings.Trim(mark, marks)]; ok && CheckValue(mark, value) == nil {
			return []byte(value)
		}
		return found
	})
}

// variable fills in as Flux does, with the defaults and functions of a shell.
func (f *filler) variable(mark string, given map[string]string, defaults bool) string {
	text, err := envsubst.Eval(mark, func(name string) (string, bool) {
		value, ok := given[name]
		return value, ok
	})
	name := regexp.MustCompile(`^\w*`).FindString(strings.TrimLeft(mark, "${#"))
	_, known := given[name]
	if err != nil || !known && !defaults || CheckValue(name, text) != nil {
		return mark
	}
	return text
}
