//go:build unix

package exec

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// What a killed azwi exec left is removed by the next one; what one that runs uses, and
// what is not a session's, stays.
func TestKilledSessionsAreRemoved(t *testing.T) {
	t.Parallel()
	temp := t.TempDir()
	for _, name := range []string{sessionPrefix + "killed", sessionPrefix + "runs", sessionPrefix + "begins", "other"} {
		if err := os.Mkdir(filepath.Join(temp, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	killed, err := holdSession(filepath.Join(temp, sessionPrefix+"killed"))
	if err == nil {
		err = errors.Join(killed.Close(), os.WriteFile(filepath.Join(temp, sessionPrefix+"killed", "token"), []byte("x"), 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	runs, err := holdSession(filepath.Join(temp, sessionPrefix+"runs"))
	if err != nil {
		t.Fatal(err)
	}
	defer runs.Close()
	if err := os.Symlink(filepath.Join(temp, "other"), filepath.Join(temp, sessionPrefix+"link")); err != nil {
		t.Fatal(err)
	}
	if err := removeLeft(temp); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(temp, "*"))
	if err != nil || len(left) != 4 {
		t.Errorf("%v, %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(temp, sessionPrefix+"killed")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
