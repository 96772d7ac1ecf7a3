package cluster

import (
	"bytes"
	"fmt"
	"os"
)

// birth tells a process from any other that has or had its id: when it started,
// in ticks since the boot, and which boot. A process that has ended but was not
// yet waited for has none.
func birth(pid int) (string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// proc_pid_stat(5): the name, field 2, is in parentheses and may hold anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const state, start = 0, 19 // fields 3 and 22
	if len(fields) <= start {
		return "", fmt.Errorf("/proc/%d/stat: unknown form", pid)
	}
	if s := fields[state][0]; s == 'Z' || s == 'X' {
		return "", os.ErrProcessDone
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s-%s", bytes.TrimSpace(boot), fields[start]), nil
}
