package guid_test

import (
	"regexp"
	"testing"

	"azwi/internal/guid"
)

func FuzzValid(f *testing.F) {
	form := regexp.MustCompile(`\A[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\z`)
	for _, s := range []string{
		"", "22222222-aaaa-4BBB-8fFf-222222222222", "22222222-2222-2222-2222-22222222222g", "22222222-2222-2222-2222-222222222222 ",
		"{2222222-2222-2222-2222-22222222222}", "2222222222222222222222222222222222222", "\x102222222-2222-2222-2222-222222222222", "22222222-2222-2222-2222-22222222222\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := guid.Valid(s), form.MatchString(s); got != want {
			t.Errorf("%q: %t, want %t", s, got, want)
		}
	})
}
