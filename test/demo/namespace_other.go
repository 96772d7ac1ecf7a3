//go:build !linux

package main

import (
	"fmt"
	"io"
	"syscall"
)

func mountNamespace() *syscall.SysProcAttr { return nil }

func inside(_ io.Reader, stderr io.Writer) int {
	fmt.Fprintln(stderr, "mount namespaces need Linux")
	return 1
}
