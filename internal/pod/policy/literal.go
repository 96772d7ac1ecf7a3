package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// An expr is CEL text in place of a value.
type expr string

// holes are the parts of a sample that differ from pod to pod: the text that
// stands for them in the sample, and the CEL that takes its place.
type holes map[string]expr

// literal writes a JSON value as CEL. A string with holes becomes a concatenation;
// a number or string that is a hole as a whole becomes the expression itself.
//
// The API server's CEL allows no map or list of mixed types, so the values of a map
// are dyn unless it has one or all are strings, and so are the maps in a list.
func literal(v any, h holes) string {
	switch v := v.(type) {
	case expr:
		return string(v)
	case string:
		return h.fill(v)
	case json.Number:
		if e, ok := h[v.String()]; ok {
			return string(e)
		}
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	case []any:
		return list(v, h)
	case map[string]any:
		return object(v, h)
	default:
		return fmt.Sprintf("%v", v)
	}
}

func list(items []any, h holes) string {
	parts := make([]string, len(items))
	for i, item := range items {
		parts[i] = literal(item, h)
		if _, ok := item.(map[string]any); ok && !alike(items) {
			parts[i] = "dyn(" + parts[i] + ")"
		}
	}
	return wrap("[", parts, "]")
}

// alike tells that all items are maps of strings.
func alike(items []any) bool {
	for _, item := range items {
		m, ok := item.(map[string]any)
		if !ok {
			return false
		}
		for _, v := range m {
			if _, ok := v.(string); !ok {
				return false
			}
		}
	}
	return true
}

func object(m map[string]any, h holes) string {
	mixed := len(m) > 1 && !alike([]any{m})
	var parts []string
	for _, key := range slices.SortedFunc(maps.Keys(m), byCustom) {
		value := literal(m[key], h)
		if mixed {
			value = "dyn(" + value + ")"
		}
		parts = append(parts, quote(key)+": "+value)
	}
	return wrap("{", parts, "}")
}

// byCustom orders members as people write them: the name first.
func byCustom(a, b string) int {
	rank := func(s string) string {
		if s == "name" {
			return ""
		}
		return s
	}
	return strings.Compare(rank(a), rank(b))
}

// wrap puts short parts on one line and long ones on a line each.
func wrap(open string, parts []string, end string) string {
	line := open + strings.Join(parts, ", ") + end
	if len(line) <= 100 && !strings.Contains(line, "\n") {
		return line
	}
	return open + "\n" + indent(strings.Join(parts, ",\n")) + "\n" + end
}

func indent(s string) string { return "  " + strings.ReplaceAll(s, "\n", "\n  ") }

// fill writes a string with holes.
func (h holes) fill(s string) string {
	var parts []string
	h.split(s, func(text string, hole expr) {
		if hole == "" {
			parts = append(parts, quote(text))
		} else {
			parts = append(parts, string(hole))
		}
	})
	if len(parts) == 0 {
		return `""`
	}
	return strings.Join(parts, " + ")
}

// pattern matches a string with printable text in its holes.
func (h holes) pattern(s string) string {
	var b strings.Builder
	h.split(s, func(text string, hole expr) {
		if hole == "" {
			b.WriteString(regexp.QuoteMeta(text))
		} else {
			b.WriteString(printable)
		}
	})
	return b.String()
}

// split calls f for the text between holes, with no hole, and for each hole.
func (h holes) split(s string, f func(text string, hole expr)) {
	for s != "" {
		at, hole := len(s), ""
		for token := range h {
			if i := strings.Index(s, token); i >= 0 && (i < at || i == at && len(token) > len(hole)) {
				at, hole = i, token
			}
		}
		if at > 0 {
			f(s[:at], "")
		}
		if hole != "" {
			f("", h[hole])
		}
		s = s[at+len(hole):]
	}
}

// quote writes a string literal: CEL's escapes are those of JSON, but for the
// surrogates, which do not occur here.
func quote(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return strconv.Quote(s) // a string can always be encoded
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// names writes a list of strings.
func names(items []string) string {
	quoted := make([]string, len(items))
	for i, item := range items {
		quoted[i] = quote(item)
	}
	return wrap("[", quoted, "]")
}
