package explain

import (
	"bytes"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"azwi/internal/cli/command"
	"azwi/internal/document/documenttest"
	"azwi/internal/finding"
)

var update = flag.Bool("update", false, "write the goldens again")

// azwi runs the command with a text on standard input.
func azwi(t *testing.T, stdin string, args ...string) (stdout string, err error) {
	t.Helper()
	var out bytes.Buffer
	env := command.New(command.Streams{In: strings.NewReader(stdin), Out: &out, Err: &bytes.Buffer{}}, func(string) string { return "" })
	c := New(env)
	c.SetArgs(append([]string{}, args...)) // none are not the test's own
	c.SilenceErrors, c.SilenceUsage = true, true
	err = c.ExecuteContext(t.Context())
	return out.String(), err
}

// TestExplain: testdata/explain.txtar has texts, each followed by its explanation.
func TestExplain(t *testing.T) {
	t.Parallel()
	const name = "testdata/explain.txtar"
	archive, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(archive.Files); i += 2 {
		text, want := archive.Files[i], &archive.Files[i+1]
		got, err := azwi(t, string(text.Data), "-")
		if err != nil {
			got = "error: " + err.Error() + "\n"
		}
		if *update {
			want.Data = []byte(got)
		} else if diff := cmp.Diff(string(want.Data), got); diff != "" {
			t.Errorf("%s: %s", text.Name, diff)
		}
	}
	if *update {
		if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil { //nolint:gosec // a golden
			t.Fatal(err)
		}
	}
}

// TestList: everything that is listed can be explained.
func TestList(t *testing.T) {
	t.Parallel()
	all := everything().Explanations
	if len(all) < 150 {
		t.Errorf("only %d codes are listed", len(all))
	}
	for _, e := range all {
		answer := explain(finding.ReadPasted(e.Code))
		if len(answer.Explanations) != 1 || answer.Explanations[0].Code != e.Code || answer.Explanations[0].Meaning == "" {
			t.Errorf("%s: %+v", e.Code, answer)
		}
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "nothing to explain"},
		{[]string{"hello", "world"}, "no code that azwi knows is in this text"},
		{[]string{"AADSTS99999999"}, "no code that azwi knows"},
		{[]string{"AADSTS70021", "-o", "xml"}, "use text, json or yaml"},
	} {
		if out, err := azwi(t, "", test.args...); err == nil || !strings.Contains(err.Error(), test.want) || out != "" {
			t.Errorf("%v: %v, %q; want %q", test.args, err, out, test.want)
		}
	}
}

func TestSchema(t *testing.T) {
	t.Parallel()
	documenttest.Schema{
		File: "../../../docs/schema/explain.json", Source: "explain.go", Title: "Output of azwi explain", Type: reflect.TypeFor[report](),
	}.Check(t, *update)
}
