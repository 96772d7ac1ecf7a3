package plainfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// ErrNotRegular is a pipe, device, socket or folder.
var ErrNotRegular = errors.New("not a regular file")

// Read returns a file's content, following links. A file of more than most bytes is
// an error.
func Read(name string, most int64) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w: its mode is %s", name, ErrNotRegular, info.Mode())
	}
	content, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(content)) > most {
		err = fmt.Errorf("%s: it is larger than %d bytes", name, most)
	}
	if err != nil {
		return nil, err
	}
	return content, nil
}
