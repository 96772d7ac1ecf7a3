package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// PortError says that a port is taken, and by whom if that could be found out.
type PortError struct {
	Port    int
	PID     int    // 0: unknown
	Command string // its program and first arguments
}

func (e *PortError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("127.0.0.1:%d is taken by a process that this user can't see", e.Port)
	}
	return fmt.Sprintf("127.0.0.1:%d is taken by process %d (%s)", e.Port, e.PID, e.Command)
}

// checkPort returns a *PortError if nothing can listen on the port of 127.0.0.1.
func checkPort(port int) error {
	listener, err := net.Listen("tcp4", address(port)) //nolint:noctx // loopback: never waits
	if err != nil {
		pid, command := portHolder(port)
		return &PortError{Port: port, PID: pid, Command: command}
	}
	return listener.Close()
}

// freePort finds a port that nothing listens on. It looks below the range from
// which the system gives ports to outgoing connections, as one of those could
// take the port before its user does.
func freePort() (int, error) {
	for range 100 {
		port := 10000 + rand.IntN(22000)
		if checkPort(port) == nil {
			return port, nil
		}
	}
	return 0, errors.New("found no free port in 100 tries")
}

const loopback = "127.0.0.1"

func address(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }

// portHolder finds the process that listens on the port of 127.0.0.1, in /proc:
// the table of sockets gives the socket's inode, the processes' descriptors whose it is.
func portHolder(port int) (pid int, command string) {
	inode := listenerInode(port)
	if inode == "" {
		return 0, ""
	}
	descriptors, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, descriptor := range descriptors {
		if target, err := os.Readlink(descriptor); err != nil || target != "socket:["+inode+"]" {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(descriptor, "/")[2])
		if err != nil {
			continue
		}
		return pid, commandLine(pid)
	}
	return 0, ""
}

func listenerInode(port int) string {
	const listening = "0A"
	// The addresses, as these tables write them, that stand in the way of a
	// listener on 127.0.0.1: itself and any address, of both families.
	addresses := []string{"0100007F", "00000000", "0000000000000000FFFF00000100007F", strings.Repeat("0", 32)}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		content, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(content)) {
			// proc_pid_net(5): slot, local address, remote address, state, ..., the inode tenth.
			fields := strings.Fields(line)
			if len(fields) < 10 || fields[3] != listening {
				continue
			}
			host, hexPort, _ := strings.Cut(fields[1], ":")
			if hexPort == fmt.Sprintf("%04X", port) && slices.Contains(addresses, host) {
				return fields[9]
			}
		}
	}
	return ""
}

func commandLine(pid int) string {
	const maxLength = 80
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return "unknown"
	}
	line := string(bytes.ReplaceAll(bytes.TrimRight(content, "\x00"), []byte{0}, []byte{' '}))
	if len(line) > maxLength {
		line = line[:maxLength] + "..."
	}
	return line
}
