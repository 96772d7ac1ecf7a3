package cli_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"azwi/emulator/emulatortest"
	"azwi/test/cluster"
)

// more are commands for scripts of several areas:
//
//	code N PROGRAM ARGS...   runs a program that shall exit with N
//	fault FAULT...           orders faults of the emulator, each as JSON, in place of the former
func more() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	return map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"code": func(ts *testscript.TestScript, _ bool, args []string) {
			want, err := strconv.Atoi(args[0])
			ts.Check(err)
			err = ts.Exec(args[1], args[2:]...)
			got := 0
			if failed, ok := errors.AsType[*exec.ExitError](err); ok {
				got = failed.ExitCode()
			} else {
				ts.Check(err)
			}
			if got != want {
				ts.Fatalf("exit code %d, want %d", got, want)
			}
		},
		"fault": func(ts *testscript.TestScript, _ bool, args []string) {
			faults := []any{}
			for _, text := range args {
				var fault any
				ts.Check(json.Unmarshal([]byte(text), &fault))
				faults = append(faults, fault)
			}
			w, ok := ts.Value(worldKey{}).(world)
			if !ok {
				ts.Fatalf("the suite has no setup: keepWorld")
			}
			w.azure.Admin(w.t, http.MethodPut, "/faults", map[string]any{"faults": faults}, nil)
		},
	}
}

type worldKey struct{}

// world is what commands of a script need.
type world struct {
	t     *testing.T
	azure *emulatortest.Server
}

// keepWorld is the setup of suites with more.
func keepWorld(t *testing.T, env *testscript.Env, azure *emulatortest.Server, _ *cluster.Cluster) error {
	env.Values[worldKey{}] = world{t, azure}
	return nil
}
