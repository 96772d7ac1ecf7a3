package product

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"azwi/test/process"
)

// EmulatorConfig says how to run azwi-emulator.
type EmulatorConfig struct {
	// Binary is what Build returned.
	Binary string
	// Dir is its state folder. Required.
	Dir string
	// Seed is a seed file. Default: the emulator's own defaults.
	Seed string
	// Args come after the necessary ones.
	Args []string
	// Log gets its log. Default: nowhere.
	Log io.Writer
}

// Emulator is a running azwi-emulator.
type Emulator struct {
	*process.Child
	// Authority, Proxy and Admin are URLs.
	Authority, Proxy, Admin string
	// CAFile is the CA of its certificates.
	CAFile string
}

// StartEmulator starts azwi-emulator on free loopback ports and returns when it
// answers.
func StartEmulator(ctx context.Context, c EmulatorConfig) (*Emulator, error) {
	args := []string{"--dir=" + c.Dir, "--listen=127.0.0.1:0", "--proxy-listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"}
	if c.Seed != "" {
		args = append(args, "--seed="+c.Seed)
	}
	log := &bytes.Buffer{}
	var to io.Writer = log
	if c.Log != nil {
		to = io.MultiWriter(log, c.Log)
	}
	ready := &firstLine{found: make(chan struct{})}
	child, err := process.Start(process.Config{Binary: c.Binary, Args: append(args, c.Args...), Stdout: ready, Stderr: to})
	if err != nil {
		return nil, err
	}
	select {
	case <-ready.found:
	case <-child.Done():
		return nil, fmt.Errorf("azwi-emulator ended: %w\n%s", child.Wait(), log)
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), child.Stop(time.Second))
	}
	e := &Emulator{Child: child, CAFile: filepath.Join(c.Dir, "ca.crt")}
	if err := json.Unmarshal(ready.line(), e); err != nil {
		return nil, errors.Join(fmt.Errorf("azwi-emulator's ready line: %w", err), child.Stop(time.Second))
	}
	return e, nil
}

// firstLine keeps the first line written to it.
type firstLine struct {
	found chan struct{}

	mu   sync.Mutex
	data []byte
	done bool
}

func (f *firstLine) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.done {
		f.data = append(f.data, p...)
		if line, _, whole := bytes.Cut(f.data, []byte("\n")); whole {
			f.data, f.done = line, true
			close(f.found)
		}
	}
	return len(p), nil
}

func (f *firstLine) line() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.data
}
