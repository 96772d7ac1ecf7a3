package cli_test

import (
	"maps"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestFederation(t *testing.T) {
	commands := more()
	maps.Copy(commands, map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"envfile": envfile, "mark": mark, "written": written,
	})
	suite{folder: "federation", commands: commands, setup: keepWorld}.run(t)
}

// envfile replaces $VARIABLES in a script's file.
func envfile(ts *testscript.TestScript, _ bool, args []string) {
	name := ts.MkAbs(args[0])
	ts.Check(os.WriteFile(name, []byte(os.Expand(ts.ReadFile(args[0]), ts.Getenv)), 0o600))
}

// mark makes writes of credentials slow, and written counts from here.
func mark(ts *testscript.TestScript, _ bool, _ []string) {
	w := worldOf(ts)
	w.azure.Admin(w.t, http.MethodPut, "/faults", map[string]any{"faults": []any{map[string]any{
		"path": "*/federatedIdentityCredentials*", "delay": "50ms",
	}}}, nil)
	ts.Setenv("MARK", strconv.Itoa(writes(w)))
}

// written waits until the emulator has seen N writes of credentials since mark.
func written(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	before, err := strconv.Atoi(ts.Getenv("MARK"))
	ts.Check(err)
	w := worldOf(ts)
	deadline := time.After(time.Minute)
	for tick := time.NewTicker(5 * time.Millisecond); writes(w) < before+n; {
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("there were no %d writes", n)
		}
	}
}

// writes counts the writes of credentials that the emulator answered.
func writes(w world) int {
	var journal struct {
		Requests []struct{ Method, Path string }
	}
	w.azure.Admin(w.t, http.MethodGet, "/requests", nil, &journal)
	count := 0
	for _, r := range journal.Requests {
		if r.Method != http.MethodGet && strings.Contains(r.Path, "/federatedIdentityCredentials") {
			count++
		}
	}
	return count
}
