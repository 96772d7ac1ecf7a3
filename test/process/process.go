package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Config says what to start.
type Config struct {
	// Binary is the program's file.
	Binary string
	// Name is what the program sees itself called. Default: Binary.
	Name string
	Args []string
	// Dir is its working directory. Default: this process's own.
	Dir string
	// Detached lets it live on when this process ends.
	Detached bool
	// Isolated gives it mounts, processes and a network of its own: it is process
	// 1 of those, and what runs there ends with it. Linux only, as root.
	Isolated bool
	// Env is the whole environment but for PATH, HOME and TMPDIR, which are this
	// process's own.
	Env []string
	// Stdout and Stderr default to nowhere.
	Stdout, Stderr io.Writer
}

// A Child is a running program.
type Child struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Start starts a program. It is killed if this process dies, unless Config.Detached.
func Start(c Config) (*Child, error) {
	cmd := exec.Command(c.Binary, c.Args...) //nolint:noctx // it outlives the start; Stop ends it
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir()}, c.Env...)
	cmd.Stdout, cmd.Stderr = c.Stdout, c.Stderr
	cmd.Dir = c.Dir
	if c.Name != "" {
		cmd.Args[0] = c.Name
	}
	// A group or session of its own keeps a terminal's Ctrl-C from it: we stop it in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: !c.Detached, Setsid: c.Detached}
	if !c.Detached {
		dieWithParent(cmd.SysProcAttr)
	}
	if c.Isolated {
		if err := isolate(cmd.SysProcAttr); err != nil {
			return nil, fmt.Errorf("start %s: %w", c.Binary, err)
		}
	}
	child := &Child{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// Linux takes the end of the thread that started a process for that of
		// its parent, so this goroutine keeps its thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			child.err = cmd.Wait()
			close(child.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Binary, err)
	}
	return child, nil
}

// PID is the process's ID.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Done is closed when the program has ended.
func (c *Child) Done() <-chan struct{} { return c.done }

// Signal sends a signal; to a program that has ended it does nothing.
func (c *Child) Signal(s os.Signal) error {
	if err := c.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Wait waits for the end and returns how the program ended, as exec.Cmd.Wait.
func (c *Child) Wait() error {
	<-c.done
	return c.err
}

// Stop asks the program to end, kills it if it has not after grace, and returns
// how it ended.
func (c *Child) Stop(grace time.Duration) error {
	if err := c.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-c.done:
	case <-time.After(grace):
		if err := c.Signal(syscall.SIGKILL); err != nil {
			return err
		}
	}
	return c.Wait()
}
