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
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

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
	Compare("spec", want["spec"], installed["spec"], func(path, what string) {
		lines = append(lines, fmt.Sprintf("%s %s: %s %s", o.Kind, o.Metadata.Name, path, what))
	})
	return lines, nil
}

// Compare reports each place below a path where an object differs from the wanted one,
// and what is there. The layout of CEL expressions does not count.
func Compare(path string, want, have any, report func(path, what string)) {
	if reflect.DeepEqual(want, have) {
		return
	}
	switch w := want.(type) {
	case string:
		// Its layout is another one in the chart.
		if h, ok := have.(string); ok && strings.HasSuffix(strings.ToLower(path), "expression") {
			if wantAt, haveAt, same := differentCEL(w, h); !same {
				report(path, fmt.Sprintf("is %s, generated is %s", excerpt(h, haveAt), excerpt(w, wantAt)))
			}
			return
		}
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
				Compare(fmt.Sprintf("%s[%d]", path, i), w[i], h[i], report)
			}
			return
		}
	}
	h, w := oneLine(have), oneLine(want)
	at := 0
	for at < min(len(h), len(w)) && h[at] == w[at] {
		at++
	}
	report(path, fmt.Sprintf("is %s, generated is %s", cut(h, at), cut(w, at)))
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
		Compare(path, w, h, report)
	}
}

// oneLine is a value as JSON.
func oneLine(v any) string {
	var out strings.Builder
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSpace(out.String())
}

// short is a value on one line, from its beginning.
func short(v any) string { return cut(oneLine(v), 0) }

// excerpt is a part of an expression on one line, with what stands at an offset.
func excerpt(expression string, at int) string {
	before, after := strings.Fields(expression[:at]), strings.Fields(expression[at:])
	// The blank in between, if there is one.
	gap := ""
	if at > 0 && at < len(expression) && (isSpace(expression[at-1]) || isSpace(expression[at])) {
		gap = " "
	}
	lead := strings.Join(before, " ") + gap
	return oneLine(cut(lead+strings.Join(after, " "), len(lead)))
}

// cut shortens a text, but not what stands at an offset.
func cut(text string, at int) string {
	const before, most = 40, 100
	start, end := 0, len(text)
	if len(text) > most {
		start = max(0, min(at-before, len(text)-most))
		end = min(len(text), start+most)
	}
	for start > 0 && !utf8.RuneStart(text[start]) {
		start--
	}
	for end < len(text) && !utf8.RuneStart(text[end]) {
		end++
	}
	short := text[start:end]
	if start > 0 {
		short = "..." + short
	}
	if end < len(text) {
		short += "..."
	}
	return short
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
