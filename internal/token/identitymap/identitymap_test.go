package identitymap_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"azwi/internal/token/identitymap"
)

const guid = "22222222-ABCD-4000-8000-000000000001"

// pairs are some that are right and some that are not, each with what its error
// says.
func pairs() map[string]string {
	resource := "/subscriptions/s/resourceGroups/my_rg.(1)/providers/Microsoft.ManagedIdentity/userAssignedIdentities/web-1"
	return map[string]string{
		guid + "=" + guid:                        "",
		resource + "=" + guid:                    "",
		resource + "=" + guid + "@" + guid:       "",
		"a=" + guid + "@contoso.onmicrosoft.com": "",
		strings.Repeat("a", 1000) + "=" + guid:   "",
		"":                                       "write ID=CLIENT_ID",
		guid:                                     "write ID=CLIENT_ID",
		"=" + guid:                               "write ID=CLIENT_ID",
		"a,b=" + guid:                            "before the equals sign",
		"a;b=" + guid:                            "before the equals sign",
		"a\nb=" + guid:                           "before the equals sign",
		"a b=" + guid:                            "before the equals sign",
		" a=" + guid:                             "before the equals sign",
		"$(HOSTNAME)=" + guid:                    "before the equals sign",
		"\u00e4=" + guid:                         "before the equals sign",
		strings.Repeat("a", 1001) + "=" + guid:   "before the equals sign",
		"a=":                                     "must be a GUID",
		"a=client":                               "must be a GUID",
		"a=" + guid + "\n":                       "must be a GUID",
		"a=b=" + guid:                            "must be a GUID",
		"a=" + guid + "@":                        "after the @",
		"a=" + guid + "@..":                      "after the @",
		"a=" + guid + "@a/b":                     "after the @",
		"a=" + guid + "@a@b":                     "after the @",
		"a=" + guid + "@a_b":                     "after the @",
		"a=" + guid + "@" + strings.Repeat("a", 254): "after the @",
	}
}

func TestParsePair(t *testing.T) {
	t.Parallel()
	for pair, want := range pairs() {
		_, _, err := identitymap.ParsePair(pair)
		e, ok := errors.AsType[*identitymap.Error](err)
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", pair, err)
		case want != "" && (!ok || !strings.Contains(e.Problem, want) || e.Pair != pair):
			t.Errorf("%q: %v, want %q", pair, err, want)
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	got, err := identitymap.Parse([]string{"OBJECT=" + guid, "object=" + strings.ToLower(guid), "b=" + guid + "@Contoso.com"})
	if err != nil {
		t.Fatal(err)
	}
	client := strings.ToLower(guid)
	if diff := cmp.Diff(map[string]identitymap.Identity{"object": {ClientID: client}, "b": {ClientID: client, TenantID: "contoso.com"}}, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range [][]string{
		{"a=" + guid, "A=" + strings.Replace(guid, "2", "3", 1)},
		{"a=" + guid, "a=" + guid + "@contoso.com"},
	} {
		if _, err := identitymap.Parse(bad); err == nil || !strings.Contains(err.Error(), "another pair gives the same ID") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Policies see exactly what the parser sees.
func FuzzPattern(f *testing.F) {
	for pair := range pairs() {
		f.Add(pair)
	}
	pattern := regexp.MustCompile(identitymap.Pattern)
	f.Fuzz(func(t *testing.T, pair string) {
		if _, _, err := identitymap.ParsePair(pair); (err == nil) != pattern.MatchString(pair) {
			t.Errorf("%q: the parser says %v, the pattern %t", pair, err, pattern.MatchString(pair))
		}
	})
}
