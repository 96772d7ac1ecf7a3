package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"azwi/test/process"
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
	running *process.Child
	log     string // the file that holds its output
}

// startChild starts the program called name out of the multi-call binary, with
// its output added to the log file.
func startChild(logFile string, cfg process.Config) (*child, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cfg.Stdout, cfg.Stderr = log, log
	running, err := process.Start(cfg)
	if err != nil {
		return nil, err
	}
	c := &child{Process: Process{Name: cfg.Name, PID: running.PID()}, running: running, log: logFile}
	if c.Birth, err = birth(c.PID); err != nil {
		select {
		case <-running.Done(): // whoever waits for it to be ready will see that
		default:
			return nil, errors.Join(fmt.Errorf("start %s: %w", cfg.Name, err), running.Stop(0))
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
