package redirect

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		c, want Config
		err     string
	}{
		{"defaults", Config{}, Config{Port: 8000, UID: 1501}, ""},
		{"chosen", Config{Port: 65535, UID: 1}, Config{Port: 65535, UID: 1}, ""},
		{"port too large", Config{Port: 65536}, Config{Port: 65536, UID: 1501}, "redirect: port 65536 or user 1501 is out of range"},
		{"negative port", Config{Port: -1}, Config{Port: -1, UID: 1501}, "redirect: port -1 or user 1501 is out of range"},
		{"negative user", Config{UID: -1}, Config{Port: 8000, UID: -1}, "redirect: port 8000 or user -1 is out of range"},
	} {
		got, err := tt.c.withDefaults()
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
		message := ""
		if err != nil {
			message = err.Error()
		}
		if message != tt.err {
			t.Errorf("%s: error %q, want %q", tt.name, message, tt.err)
		}
	}
}
