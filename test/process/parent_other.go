//go:build !linux

package process

import (
	"errors"
	"syscall"
)

// dieWithParent can do nothing here: if this process crashes, its programs stay.
func dieWithParent(*syscall.SysProcAttr) {}

func isolate(*syscall.SysProcAttr) error { return errors.New("namespaces need Linux") }
