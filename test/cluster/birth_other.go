//go:build !linux

package cluster

import (
	"os/exec"
	"strconv"
	"strings"
)

// birth tells a process from any other that has or had its id, to the second.
func birth(pid int) (string, error) {
	out, err := exec.Command("ps", "-o", "lstart=", "-p", strconv.Itoa(pid)).Output() //nolint:noctx // local and instant
	return strings.TrimSpace(string(out)), err
}
