package document

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type sample struct {
	Name  string            `json:"name"`
	Count int               `json:"count"`
	Share *float64          `json:"share"`
	Wait  time.Duration     `json:"wait"`
	Until time.Time         `json:"until"`
	Tags  map[string]string `json:"tags"`
	Items []item            `json:"items"`
}

type item struct {
	ID string `json:"id"`
	On bool   `json:"on"`
}

func TestRead(t *testing.T) {
	t.Parallel()
	half := 0.5
	want := sample{
		Name: "12", Count: 3, Share: &half, Wait: 90 * time.Second, Until: time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC),
		Tags: map[string]string{"a": "b"}, Items: []item{{ID: "x", On: true}},
	}
	for name, text := range map[string]string{
		"yaml": "name: 12\ncount: 3\nshare: 0.5\nwait: 90s\nuntil: 2027-01-31T00:00:00Z\ntags: {a: b}\nitems:\n- id: x\n  on: true\n",
		"json": `{"name":"12","count":3,"share":0.5,"wait":"90s","until":"2027-01-31T00:00:00Z","tags":{"a":"b"},"items":[{"id":"x","on":true}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got sample
			if err := Read("f", []byte(text), &got).Err(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestErrorsNameLineAndField(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"unknown field", "name: a\nnam: b\n", "f:2: nam: unknown field; known are name, count, share, wait, until, tags, items"},
		{"unknown and hostile", "\"a\\e[2J\\u202eb\": 1\n", `f:1: "a\x1b[2J\u202eb": unknown field; known are name, count, share, wait, until, tags, items`},
		{"unknown below", "items:\n- id: a\n- id: b\n  of: c\n", "f:4: items[1].of: unknown field; known are id, on"},
		{"wrong type", "name: a\ncount: many\n", "f:2: count: want a whole number"},
		{"not a list", "items: {}\n", "f:1: items: want a list"},
		{"not fields", "items: [a]\n", "f:1: items[0]: want fields"},
		{"not text", "name: [a]\n", "f:1: name: want one text"},
		{"duration", "\nwait: soon\n", "f:2: wait: want a duration such as 90s or 10m"},
		{"twice", "name: a\nname: b\n", "f:2: name: occurs twice"},
		{"alias", "tags: &a {x: y}\nitems: *a\n", "f:1: tags: anchors and aliases are not supported\nf:2: items: anchors and aliases are not supported"},
		{"syntax", "name: a\n  b: c\n", "f:2: not valid YAML or JSON: mapping values are not allowed in this context; check indentation, brackets and quotes, here and above"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var s sample
			err := Read("f", []byte(tt.text), &s).Err()
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// A mistake of meaning in a missing field is reported where its object begins.
func TestFailFindsLine(t *testing.T) {
	t.Parallel()
	var s sample
	d := Read("f", []byte("name: x\nitems:\n- id: a\n- on: true\n"), &s)
	d.Fail("items[1].id", "is missing")
	var e *Error
	if err := d.Err(); !errors.As(err, &e) || e.Line != 4 || e.Field != "items[1].id" {
		t.Errorf("got %v", err)
	}
}

func TestDeepNesting(t *testing.T) {
	t.Parallel()
	var s struct {
		Node *node `json:"node"`
	}
	if err := Read("f", []byte(`{"node":`+strings.Repeat(`{"node":`, 200)+"{}"+strings.Repeat("}", 201)), &s).Err(); err == nil {
		t.Error("no error")
	}
}

type node struct {
	Node *node `json:"node"`
}
