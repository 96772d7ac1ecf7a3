package install

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"

	chart "azwi/charts/workload-identity-webhook"
	"azwi/internal/version"
)

// A Release is what to render.
type Release struct {
	// Name and Namespace as Helm has them. Required.
	Name, Namespace string
	// Values of the chart.
	Values map[string]any
	// Version is the chart's and the images'. Required.
	Version string
	// Kubernetes is the API server's version, such as v1.37.2. Default: that which
	// Helm's engine was built for, with every API that it knows.
	Kubernetes string
	// APIVersions are those that the API server has, such as apps/v1.
	APIVersions []string
	// Registry has the images, where Values name none. Default: that which this
	// program was built for, if any; without either the chart refuses.
	Registry string
	// Chart is the chart's folder. Default: the one that is built in.
	Chart fs.FS
	// Service is who installs, for a label. Default: azwi.
	Service string
}

// registryAnnotation of the chart has the registry that has the images.
const registryAnnotation = "azwi/image-registry"

// Render returns the objects in the order in which to apply them, and the notes
// for the user. The error tells which value is wrong.
func Render(ctx context.Context, r Release) (objects []Object, notes string, err error) {
	if r.Chart == nil {
		r.Chart = chart.Files
	}
	var files []*archive.BufferedFile
	err = fs.WalkDir(r.Chart, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(r.Chart, name)
		files = append(files, &archive.BufferedFile{Name: name, Data: data})
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("read the chart: %w", err)
	}
	loaded, err := loader.LoadFiles(files)
	if err != nil {
		return nil, "", fmt.Errorf("read the chart: %w", err)
	}
	loaded.Metadata.AppVersion = r.Version
	if registry := cmp.Or(r.Registry, version.Registry()); registry != "" {
		if loaded.Metadata.Annotations == nil {
			loaded.Metadata.Annotations = map[string]string{}
		}
		loaded.Metadata.Annotations[registryAnnotation] = registry
	}
	capabilities := common.DefaultCapabilities
	if r.Kubernetes != "" {
		kubernetes, err := common.ParseKubeVersion(r.Kubernetes)
		if err != nil {
			return nil, "", fmt.Errorf("the API server's version: %w", err)
		}
		capabilities = &common.Capabilities{KubeVersion: *kubernetes, APIVersions: r.APIVersions}
	}
	values, err := util.ToRenderValues(loaded, r.Values, common.ReleaseOptions{Name: r.Name, Namespace: r.Namespace, Revision: 1, IsInstall: true}, capabilities)
	if err != nil {
		return nil, "", wrongValues(err)
	}
	if release, ok := values["Release"].(map[string]any); ok {
		if r.Service == "" {
			r.Service = "azwi"
		}
		release["Service"] = r.Service
	}
	rendered, err := engine.Engine{}.RenderWithContext(ctx, loaded, values)
	if err != nil {
		return nil, "", ownWords(err)
	}
	for _, name := range slices.Sorted(maps.Keys(rendered)) {
		switch {
		case path.Base(name) == "NOTES.txt":
			notes = strings.TrimSpace(rendered[name])
		case strings.HasPrefix(path.Base(name), "_"):
		default:
			decoded, err := decode(rendered[name])
			if err != nil {
				return nil, "", fmt.Errorf("%s: %w", name, err)
			}
			objects = append(objects, decoded...)
		}
	}
	sortForApply(objects)
	return objects, notes, nil
}

// wrongValues leaves of an error what the chart's schema says of each value.
func wrongValues(err error) error {
	var problems []string // in any order
	for _, m := range regexp.MustCompile(`(?m)^ *- at '/?([^']*)': (.*)$`).FindAllStringSubmatch(err.Error(), -1) {
		problems = append(problems, fmt.Sprintf("chart value %s: %s", cmp.Or(strings.ReplaceAll(m[1], "/", "."), "(all)"), m[2]))
	}
	if len(problems) == 0 {
		return err
	}
	slices.Sort(problems)
	return errors.New(strings.Join(problems, "\n"))
}

// ownWords leaves of an error what the chart's fail and required said.
func ownWords(err error) error {
	text := err.Error()
	for _, mark := range []string{"error calling fail: ", "error calling required: "} {
		if i := strings.LastIndex(text, mark); i >= 0 {
			return errors.New(text[i+len(mark):])
		}
	}
	if place := regexp.MustCompile(`^execution error at \([^)]*\): `).FindString(text); place != "" {
		return errors.New(strings.TrimPrefix(text, place))
	}
	return err
}

// decode reads a YAML file of objects.
func decode(text string) ([]Object, error) {
	var objects []Object
	for d := yaml.NewDecoder(strings.NewReader(text)); ; {
		var o map[string]any
		err := d.Decode(&o)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		if len(o) == 0 {
			continue
		}
		// As JSON has it, so that it compares with what the API server answers.
		raw, err := json.Marshal(o)
		if err != nil {
			return nil, err
		}
		var object Object
		if err := json.Unmarshal(raw, &object); err != nil {
			return nil, err
		}
		objects = append(objects, object)
	}
}

// YAML writes the objects as one file.
func YAML(objects []Object) ([]byte, error) {
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	for _, o := range objects {
		if err := e.Encode(integers(map[string]any(o))); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), e.Close()
}

// integers returns a value with its whole numbers as integers, which YAML would have
// as 1e+09 otherwise: the API server takes none such for an integer.
func integers(value any) any {
	switch v := value.(type) {
	case map[string]any:
		copied := make(map[string]any, len(v))
		for key, member := range v {
			copied[key] = integers(member)
		}
		return copied
	case []any:
		copied := make([]any, len(v))
		for i, item := range v {
			copied[i] = integers(item)
		}
		return copied
	case float64:
		if n := int64(v); float64(n) == v {
			return n
		}
	}
	return value
}
