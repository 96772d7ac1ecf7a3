//go:build !linux

package process

import "syscall"

// dieWithParent can do nothing here: if this process crashes, its programs stay.
func dieWithParent(*syscall.SysProcAttr) {}
