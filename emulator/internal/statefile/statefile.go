package statefile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"azwi/internal/atomicfile"
)

// ErrDamaged is a file that exists but does not hold what it should. Whoever
// gets it must not write over the file.
var ErrDamaged = errors.New("the file is damaged")

// WriteJSON writes v with mode 0600.
func WriteJSON(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, data, 0o600)
}

// ErrExposed is a file with secrets that other users may have read.
var ErrExposed = errors.New("other users can read the file's private keys")

// Clean removes what a killed program left of its writing to path.
func Clean(path string) error {
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".*"))
	for _, name := range left {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

// ReadJSON reads v. found is false if there is no file; a file that can't be
// understood is ErrDamaged, one that is not for its owner alone ErrExposed.
func ReadJSON(path string, v any) (found bool, err error) {
	if info, err := os.Stat(path); err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return true, fmt.Errorf("%w: %s has the mode %#o; run chmod 600 on it, or remove it to start with new keys", ErrExposed, path, info.Mode().Perm())
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return true, fmt.Errorf("%w: %s: %w; move it away to start afresh", ErrDamaged, path, err)
	}
	return true, nil
}
