package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Path is the object's in the API server's URL.
func (o Object) Path() string {
	return "/apis/" + o.APIVersion + "/" + o.Resource() + "/" + o.Metadata.Name
}

// JSON writes the object as the API server takes it.
func (o Object) JSON() ([]byte, error) {
	text, err := yaml.Marshal(o)
	if err != nil {
		return nil, err
	}
	var generic any
	if err := yaml.Unmarshal(text, &generic); err != nil {
		return nil, err
	}
	return json.Marshal(generic)
}

// Differences tells how an installed object differs from o: a line for each place.
// What the API server adds to the metadata does not count.
func (o Object) Differences(installed map[string]any) ([]string, error) {
	raw, err := o.JSON()
	if err != nil {
		return nil, err
	}
	var want map[string]any
	if err := json.Unmarshal(raw, &want); err != nil {
		return nil, err
	}
	var lines []string
	compare("spec", want["spec"], installed["spec"], func(path, what string) {
		lines = append(lines, fmt.Sprintf("%s %s: %s %s", o.Kind, o.Metadata.Name, path, what))
	})
	return lines, nil
}

func compare(path string, want, have any, report func(path, what string)) {
	if reflect.DeepEqual(want, have) {
		return
	}
	switch w := want.(type) {
	case map[string]any:
		if h, ok := have.(map[string]any); ok {
			keys := maps.Clone(w)
			maps.Copy(keys, h)
			for _, key := range slices.Sorted(maps.Keys(keys)) {
				compareMember(path+"."+key, w, h, key, report)
			}
			return
		}
	case []any:
		if h, ok := have.([]any); ok && len(h) == len(w) {
			for i := range w {
				compare(fmt.Sprintf("%s[%d]", path, i), w[i], h[i], report)
			}
			return
		}
	}
	report(path, fmt.Sprintf("is %s, generated is %s", short(have), short(want)))
}

func compareMember(path string, want, have map[string]any, key string, report func(path, what string)) {
	w, wanted := want[key]
	h, had := have[key]
	switch {
	case !had:
		report(path, "is missing, generated is "+short(w))
	case !wanted:
		report(path, "is "+short(h)+", which is not generated")
	default:
		compare(path, w, h, report)
	}
}

// short is a value on one line.
func short(v any) string {
	const most = 100
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	text := []rune(strings.TrimSpace(string(raw)))
	if len(text) > most {
		text = append(text[:most], []rune("...")...)
	}
	return string(text)
}

// Decode reads what YAML wrote.
func Decode(text []byte) ([]Object, error) {
	var objects []Object
	for d := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var o Object
		err := d.Decode(&o)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		objects = append(objects, o)
	}
}
