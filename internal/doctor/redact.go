package doctor

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// removed stands in place of what is not to be shown.
const removed = "[removed]"

// A redactor takes tokens and secrets out of what others are to read.
type redactor struct {
	tokens, guids *regexp.Regexp
	secrets       []*regexp.Regexp
	// secretName matches the names of variables whose values are secrets.
	secretName *regexp.Regexp
	// ids are the pseudonyms of GUIDs; nil keeps GUIDs.
	ids map[string]string
}

func newRedactor(redactIDs bool) *redactor {
	const name = `[\w.-]*(?:secret|password|token)[\w.-]*`
	r := &redactor{
		tokens: regexp.MustCompile(`eyJ[\w=.-]*`), // a JWT's header begins with {"
		guids:  regexp.MustCompile(`[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}`),
		secrets: []*regexp.Regexp{
			// A member of JSON, also of JSON in a string.
			regexp.MustCompile(`(?i)(` + name + `\\*"\s*:\s*\\*")(?:[^"\\]|\\.)*`),
			// A variable of a container in JSON.
			regexp.MustCompile(`(?i)(name\\*"\s*:\s*\\*"` + name + `\\*"\s*,\s*\\*"value\\*"\s*:\s*\\*")(?:[^"\\]|\\.)*`),
			// A variable, an attribute of a log line, a member of a form.
			regexp.MustCompile(`(?i)(` + name + `=)(?:\\*"(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s"'&]+)`),
			regexp.MustCompile(`([A-Z0-9_]*(?:SECRET|PASSWORD|TOKEN)[A-Z0-9_]*:\s*)[^\s\[]\S*`),
			regexp.MustCompile(`(?i)(\bbearer\s+)[^\s\[]\S*`),
		},
		secretName: regexp.MustCompile(`(?i)secret|password|token`),
	}
	if redactIDs {
		r.ids = map[string]string{}
	}
	return r
}

// text redacts a text of any form.
func (r *redactor) text(s string) string {
	for _, secret := range r.secrets {
		s = secret.ReplaceAllString(s, "${1}"+removed)
	}
	s = r.tokens.ReplaceAllString(s, removed)
	// What a pseudonym is put beside may become a GUID with its digits.
	for r.ids != nil && r.guids.MatchString(s) {
		s = r.guids.ReplaceAllStringFunc(s, r.pseudonym)
	}
	return s
}

// pseudonym is always the same for a GUID, in upper or lower case.
func (r *redactor) pseudonym(id string) string {
	id = strings.ToLower(id)
	if r.ids[id] == "" {
		r.ids[id] = fmt.Sprintf("id-%d", len(r.ids)+1)
	}
	return r.ids[id]
}

// value redacts decoded JSON. The value of a container's variable goes by the variable's
// name.
func (r *redactor) value(v any) any {
	switch v := v.(type) {
	case string:
		return r.text(v)
	case []any:
		for i := range v {
			v[i] = r.value(v[i])
		}
	case object:
		name, _ := v["name"].(string)
		if _, ok := v["value"].(string); ok && r.secretName.MatchString(name) {
			v["value"] = removed
		}
		redacted := object{}
		for _, key := range slices.Sorted(maps.Keys(v)) { // pseudonyms are the same in each run
			redacted[r.text(key)] = r.value(v[key])
		}
		return redacted
	}
	return v
}
