package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Process is a program of a cluster. It can be written down and used by another
// process later: Birth tells it from a later one that got the same id.
type Process struct {
	Name  string `json:"name"`
	PID   int    `json:"pid"`
	Birth string `json:"birth"`
}

// Alive says whether it still runs.
func (p Process) Alive() bool {
	birth, err := birth(p.PID)
	return err == nil && birth == p.Birth
}

// Stop asks the process to end, kills it if it has not after grace, and returns
// when it is gone. No other process is ever signalled.
func (p Process) Stop(grace time.Duration) error {
	// Where the system can, the handle is bound to this very process, so that
	// what holds for it between the check and the signal holds.
	handle, err := os.FindProcess(p.PID)
	if err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	defer handle.Release() //nolint:errcheck // nothing is to be done about it
	for _, step := range []struct {
		signal os.Signal
		wait   time.Duration
	}{{syscall.SIGTERM, grace}, {syscall.SIGKILL, 10 * time.Second}} {
		if !p.Alive() {
			return nil
		}
		if err := handle.Signal(step.signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("stop %s (process %d): %w", p.Name, p.PID, err)
		}
		for end := time.Now().Add(step.wait); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if !p.Alive() {
				return nil
			}
		}
	}
	return fmt.Errorf("%s (process %d) did not end, though killed", p.Name, p.PID)
}

// child is a process that this one started.
type child struct {
	Process
	log  string        // the file that holds its output
	done chan struct{} // closed when it has ended
	err  error         // how it ended, once done is closed
}

type childConfig struct {
	name     string   // what the program sees itself called, which chooses it in the multi-call binary
	binary   string   // the file to run
	args     []string // without the name
	dir      string   // its working directory
	log      string   // the file that its output is added to
	detached bool     // whether it lives on when this process ends; else it is killed then, however that happens
}

func startChild(cfg childConfig) (*child, error) {
	log, err := os.OpenFile(cfg.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(cfg.binary, cfg.args...) //nolint:noctx // it outlives the context of the start; Stop ends it
	cmd.Args[0] = cfg.name
	cmd.Dir = cfg.dir
	cmd.Stdout, cmd.Stderr = log, log
	// Nothing of this process's environment (proxies, kubeconfig) changes what a cluster does.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir()}
	// A group or session of its own keeps a terminal's Ctrl-C from it: we stop it in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: !cfg.detached, Setsid: cfg.detached}
	if !cfg.detached {
		dieWithParent(cmd.SysProcAttr)
	}

	c := &child{log: cfg.log, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The system takes the death of the thread that started a process for
		// that of its parent, so this goroutine keeps its thread as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			c.err = cmd.Wait()
			close(c.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cfg.name, err)
	}
	c.Process = Process{Name: cfg.name, PID: cmd.Process.Pid}
	if c.Birth, err = birth(c.PID); err != nil {
		select {
		case <-c.done: // it has ended already: whoever waits for it will see that
		default:
			return nil, errors.Join(fmt.Errorf("start %s: %w", cfg.name, err), cmd.Process.Kill())
		}
	}
	return c, nil
}

// tail returns the last lines of the process's log.
func (c *child) tail() string {
	const maxBytes, maxLines = 8 << 10, 12
	f, err := os.Open(c.log)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err.Error()
	}
	content, err := io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-maxBytes), maxBytes))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(string(bytes.TrimSpace(content)), "\n")
	lines = lines[max(0, len(lines)-maxLines):]
	return fmt.Sprintf("the end of %s:\n\t%s", c.log, strings.Join(lines, "\n\t"))
}
