package cluster

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
)

// Shared is one control plane for all tests of a package, started by the first
// test that asks for it. Use it so:
//
//	var control cluster.Shared
//
//	func TestMain(m *testing.M) { os.Exit(control.Run(m)) }
//
//	func TestPods(t *testing.T) { c := control.Start(t); ... }
//
// Tests share its objects, so each works in namespaces of its own.
type Shared struct {
	// Config is the control plane's.
	Config Config

	once    sync.Once
	cluster *Cluster
	err     error
}

// Run runs the tests, then stops the control plane if one was started, and
// returns the exit code.
func (s *Shared) Run(m *testing.M) int {
	code := m.Run()
	if s.cluster == nil {
		return code
	}
	if err := s.cluster.Stop(); err != nil {
		os.Stderr.WriteString("stop the control plane: " + err.Error() + "\n")
		return max(code, 1)
	}
	return code
}

// Start returns the control plane; the first call starts it. It fails the test if
// that failed. The Kubernetes binary is built if need be, which can take longer than go test's
// default timeout: `make kube` does it beforehand.
func (s *Shared) Start(tb testing.TB) *Cluster {
	tb.Helper()
	s.once.Do(func() {
		// Not the test's context: other tests use what this one starts.
		s.cluster, s.err = Start(context.WithoutCancel(tb.Context()), s.Config)
	})
	if s.err != nil {
		tb.Fatal("start the control plane: ", s.err)
	}
	return s.cluster
}

// RequireNode skips the test where the machine can't run a node. Where CI=true,
// packages that are missing fail it: somebody forgot to install them.
func RequireNode(tb testing.TB) {
	tb.Helper()
	err := CheckNode()
	if err == nil {
		return
	}
	if missing, ok := errors.AsType[*NodeError](err); ok && len(missing.Packages) > 0 && os.Getenv("CI") == "true" {
		tb.Fatal(err)
	}
	tb.Skip("SKIPPED: ", err)
}
