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
	// Memory, in bytes, is the most that it and what it starts may use: they get a
	// memory cgroup of their own, which goes when it ends, and the kernel kills what
	// takes more. Default: no limit. Linux only, as root (NeedMemoryLimit); not
	// with Name.
	Memory int64
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

	memory  *memoryGroup // nil: no limit
	used    MemoryUse    // at the end
	usedErr error
}

// Start starts a program. It is killed if this process dies, unless Config.Detached.
func Start(c Config) (*Child, error) {
	child := &Child{done: make(chan struct{})}
	if c.Memory != 0 {
		if c.Name != "" {
			return nil, fmt.Errorf("start %s: Name and Memory don't go together", c.Binary)
		}
		var err error
		if child.memory, err = newMemoryGroup(c.Memory); err != nil {
			return nil, fmt.Errorf("start %s: limit its memory: %w", c.Binary, err)
		}
	}
	if err := child.start(c); err != nil {
		if child.memory != nil {
			err = errors.Join(err, child.memory.remove())
		}
		return nil, fmt.Errorf("start %s: %w", c.Binary, err)
	}
	return child, nil
}

func (c *Child) start(config Config) error {
	binary, args := config.Binary, config.Args
	if c.memory != nil {
		binary, args = c.memory.enter(binary, args)
	}
	cmd := exec.Command(binary, args...) //nolint:noctx // it outlives the start; Stop ends it
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir()}, config.Env...)
	cmd.Stdout, cmd.Stderr = config.Stdout, config.Stderr
	cmd.Dir = config.Dir
	if config.Name != "" {
		cmd.Args[0] = config.Name
	}
	// A group or session of its own keeps a terminal's Ctrl-C from it: we stop it in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: !config.Detached, Setsid: config.Detached}
	if !config.Detached {
		dieWithParent(cmd.SysProcAttr)
	}
	if config.Isolated {
		if err := isolate(cmd.SysProcAttr); err != nil {
			return err
		}
	}
	c.cmd = cmd
	started := make(chan error)
	go func() {
		// Linux takes the end of the thread that started a process for that of
		// its parent, so this goroutine keeps its thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			c.err = cmd.Wait()
			if c.memory != nil {
				c.used, c.usedErr = c.memory.use()
				c.usedErr = errors.Join(c.usedErr, c.memory.remove())
			}
			close(c.done)
		}
	}()
	return <-started
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
