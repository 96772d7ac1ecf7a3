package emulator

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"azwi/emulator/internal/accesstoken"
	"azwi/emulator/internal/directory"
	"azwi/emulator/internal/seed"
	"azwi/emulator/internal/statefile"
)

// Files in Config.Dir.
const (
	stateFile = "state.json"
	caFile    = "ca-key.json"
)

// stateVersion is the format of the state file.
const stateVersion = 1

// kept is the state file.
type kept struct {
	Version int           `json:"version"`
	Clock   time.Duration `json:"clockOffset"`
	// Seed is the hash of the seed that the state began with.
	Seed  [32]byte         `json:"seed"`
	Key   *accesstoken.Key `json:"signingKey"`
	State *directory.State `json:"directory"`
}

// restore reads the state file; without one the seed's objects are the state.
func (e *Emulator) restore(start *seed.Seed) (kept, error) {
	k := kept{State: start.State}
	given := sha256.Sum256(e.config.Seed)
	e.began.Store(&given)
	if e.config.Dir == "" {
		return k, nil
	}
	path := filepath.Join(e.config.Dir, stateFile)
	if err := statefile.Clean(path); err != nil {
		return k, err
	}
	var read kept
	found, err := statefile.ReadJSON(path, &read)
	switch {
	case err != nil:
		return k, err
	case !found:
		return k, nil
	case read.Version != stateVersion || read.Key == nil || read.State == nil || read.State.DefaultTenant == "":
		return k, fmt.Errorf("%w: %s is not a state of version %d; move it away to start afresh", statefile.ErrDamaged, path, stateVersion)
	}
	// What is built in comes from the program, not from an older state.
	for _, d := range directory.BuiltInRoles() {
		read.State.RoleDefinitions[d.GUID] = d
	}
	e.began.Store(&read.Seed)
	if read.Seed != given {
		e.log.Warn("the seed has changed since the state was made: POST /reset, or another folder, takes its objects", "state", path)
	}
	e.clock.Advance(read.Clock)
	return read, nil
}

// saveEvery is how long changes are gathered before they are written.
const saveEvery = 100 * time.Millisecond

// A saver writes the state some time after it has changed, and at the end.
type saver struct {
	emulator *Emulator
	dirty    chan struct{}
	stop     chan struct{}
	done     chan struct{}
	once     sync.Once
	err      error
}

func newSaver(e *Emulator) *saver {
	return &saver{emulator: e, dirty: make(chan struct{}, 1), stop: make(chan struct{})}
}

// changed asks for a write. It never waits.
func (s *saver) changed() {
	select {
	case s.dirty <- struct{}{}:
	default:
	}
}

func (s *saver) start() {
	s.done = make(chan struct{})
	s.changed() // the first state, so that a restart finds the signing key
	go func() {
		defer close(s.done)
		for {
			select {
			case <-s.stop:
				return
			case <-s.dirty:
			}
			if err := s.emulator.save(); err != nil {
				s.emulator.log.Error("state not written", "error", err)
			}
			select {
			case <-s.stop:
				return
			case <-time.After(saveEvery):
			}
		}
	}()
}

func (s *saver) close() error {
	s.once.Do(func() {
		if s.done == nil {
			return
		}
		close(s.stop)
		<-s.done
		s.err = s.emulator.save()
	})
	return s.err
}

// save writes the state file.
func (e *Emulator) save() error {
	key, err := e.tokens.Key()
	if err != nil {
		return err
	}
	file := struct {
		Version int                  `json:"version"`
		Clock   time.Duration        `json:"clockOffset"`
		Seed    [32]byte             `json:"seed"`
		Key     *accesstoken.Key     `json:"signingKey"`
		State   *directory.Directory `json:"directory"`
	}{stateVersion, e.clock.Offset(), *e.began.Load(), key, e.directory}
	if err := statefile.WriteJSON(filepath.Join(e.config.Dir, stateFile), file); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}
