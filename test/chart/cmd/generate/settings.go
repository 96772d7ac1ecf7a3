package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"azwi/contract"
)

// valuesSchema is the schema as it is there, with what the settings' types say.
func valuesSchema(root string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(root, chartDir, "values.schema.json"))
	if err != nil {
		return nil, err
	}
	var schema map[string]any
	if err := json.Unmarshal(text, &schema); err != nil {
		return nil, err
	}
	for _, s := range contract.Settings() {
		if s.Type.Kind == contract.Image {
			continue // is several values
		}
		at, path := schema, strings.Split(s.Value, ".")
		for i, name := range path {
			members, ok := at["properties"].(map[string]any)
			if !ok {
				return nil, fmt.Errorf("values.schema.json has no members for %s", s.Value)
			}
			if i == len(path)-1 {
				members[name] = typeSchema(s.Type)
			} else if at, ok = members[name].(map[string]any); !ok {
				return nil, fmt.Errorf("values.schema.json has no %s of %s", name, s.Value)
			}
		}
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err = e.Encode(schema)
	return out.Bytes(), err
}

// typeSchema allows values of a type, and null.
func typeSchema(t contract.Type) map[string]any {
	s := map[string]any{"type": []string{"string", "null"}}
	switch t.Kind {
	case contract.Choice:
		values := []any{}
		for _, v := range t.Values {
			values = append(values, v)
		}
		s["enum"] = append(values, nil)
	case contract.URL:
		s["pattern"] = "^($|https://)"
	case contract.Resources:
		quantities := map[string]any{"type": []string{"object", "null"}, "additionalProperties": map[string]any{"type": []string{"string", "number", "null"}}}
		return map[string]any{"type": []string{"object", "null"}, "properties": map[string]any{"requests": quantities, "limits": quantities}}
	}
	if t.Max > 0 {
		s["maxLength"] = t.Max
	}
	return s
}

// settingsTemplate is the list of the webhook's flags that are settings. Those without
// a value are left out.
func settingsTemplate() []byte {
	var b strings.Builder
	b.WriteString("{{/* Made by make generate from package contract. Do not edit. */}}\n")
	b.WriteString("{{- define \"azwi.settings\" -}}\n")
	for _, s := range contract.Settings() {
		if s.Flag == "" || s.Flag == "token-path" {
			continue // _helpers.tpl has that one, further up among the flags
		}
		value := "."
		if s.Type.Kind == contract.Resources {
			value = `(include "azwi.resourceText" .)`
		}
		fmt.Fprintf(&b, "{{- with .Values.%s }}\n- {{ printf \"--%s=%%s\" %s | quote }}\n{{- end }}\n", s.Value, s.Flag, value)
	}
	b.WriteString("{{- end }}\n")
	return []byte(b.String())
}
