package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A namespace is a network namespace with nothing in it but loopback. It belongs
// to one thread, on which everything inside it is begun.
type namespace struct {
	work chan func()
}

// newNamespace skips the test where we may not make one.
func newNamespace(t *testing.T) *namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("this test makes network namespaces: it needs root")
	}
	ns, made := &namespace{work: make(chan func())}, make(chan error)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and the namespace
		// with the last that runs in it.
		runtime.LockOSThread()
		made <- unix.Unshare(unix.CLONE_NEWNET)
		for f := range ns.work {
			f()
		}
	}()
	if err := <-made; err != nil {
		t.Skipf("this machine lets root make no network namespace: %v", err)
	}
	t.Cleanup(func() { close(ns.work) })
	ns.must(t, "ip", "link", "set", "lo", "up")
	return ns
}

func (ns *namespace) do(f func()) {
	done := make(chan struct{})
	ns.work <- func() { defer close(done); f() }
	<-done
}

// start begins a program inside.
func (ns *namespace) start(cmd *exec.Cmd) (err error) {
	ns.do(func() { err = cmd.Start() })
	return err
}

// run runs a program inside, and returns what it wrote and its exit code.
func (ns *namespace) run(cmd *exec.Cmd) (stdout, stderr string, code int) {
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := ns.start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return out.String(), errOut.String(), exit.ExitCode()
	}
	if err != nil {
		return out.String(), errOut.String() + err.Error(), -1
	}
	return out.String(), errOut.String(), 0
}

func (ns *namespace) must(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, errOut, code := ns.run(exec.CommandContext(t.Context(), name, args...))
	if code != 0 {
		t.Fatalf("%s %v: %d %s", name, args, code, errOut)
	}
	return out
}

// listen listens inside.
func (ns *namespace) listen(t *testing.T, addr string) net.Listener {
	t.Helper()
	var l net.Listener
	var err error
	ns.do(func() { l, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr) })
	if err != nil {
		t.Fatalf("listen inside: %v", err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// lead makes an address of the machine reachable inside, under the same name.
func (ns *namespace) lead(t *testing.T, addr string) {
	t.Helper()
	l := ns.listen(t, addr)
	go func() {
		for {
			inside, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer inside.Close()
				outside, err := (&net.Dialer{}).DialContext(context.WithoutCancel(t.Context()), "tcp", addr)
				if err != nil {
					return
				}
				defer outside.Close()
				go func() { _, _ = io.Copy(outside, inside); _ = outside.Close() }()
				_, _ = io.Copy(inside, outside)
			}()
		}
	}()
}

// nodeToken is what the real metadata service says: the node's own token, which
// no pod must ever see.
const nodeToken = "the-node's-own-token"

// addIMDS puts a metadata service at its address inside.
func (ns *namespace) addIMDS(t *testing.T) {
	t.Helper()
	ns.must(t, "ip", "addr", "add", "169.254.169.254/32", "dev", "lo")
	server := &http.Server{ReadHeaderTimeout: 1e9, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metadata/instance" {
			fmt.Fprint(w, `{"compute":{"name":"node-1"}}`)
			return
		}
		fmt.Fprintf(w, `{"access_token":%q,"expires_on":"4102444800","expires_in":"9","resource":"r","token_type":"Bearer"}`, nodeToken)
	})}
	l := ns.listen(t, "169.254.169.254:80")
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
}

// as makes a program run as a user without any rights.
func as(cmd *exec.Cmd, uid uint32) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}, Pdeathsig: syscall.SIGKILL}
	return cmd
}
