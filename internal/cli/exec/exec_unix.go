//go:build unix

package exec

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// forwarded are the signals that a command under exec gets from azwi.
func forwarded() []os.Signal {
	return []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2}
}

// fromTerminal reports whether a signal was typed. Then the command has got it
// already, being in the terminal's foreground too, and must not get it twice.
func fromTerminal(s os.Signal) bool {
	if s != syscall.SIGINT && s != syscall.SIGQUIT {
		return false
	}
	terminal, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer terminal.Close()
	foreground, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPGRP)
	return err == nil && foreground == unix.Getpgrp()
}

// holdSession marks a session's folder as in use until the file is closed, or the
// program is killed.
func holdSession(dir string) (*os.File, error) {
	name := filepath.Join(dir, sessionLock)
	lock, err := os.OpenFile(name+".new", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
		err = os.Rename(lock.Name(), name) // removeLeft never sees it unlocked
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// removeLeft removes the folders of this user's sessions that were killed: those
// whose lock nobody holds.
func removeLeft(temp string) error {
	dirs, err := filepath.Glob(filepath.Join(temp, sessionPrefix+"*"))
	for _, dir := range dirs {
		info, statErr := os.Lstat(dir)
		if statErr != nil || !info.IsDir() {
			continue
		}
		if owner, ok := info.Sys().(*syscall.Stat_t); !ok || int(owner.Uid) != os.Getuid() {
			continue
		}
		lock, openErr := os.OpenFile(filepath.Join(dir, sessionLock), os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if openErr != nil {
			continue // it is being made, or is just gone
		}
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
		err = errors.Join(err, lock.Close())
	}
	return err
}

// exitCode is 128 and the signal for a command that one ended, as in shells.
func exitCode(e *exec.ExitError) int {
	if status, ok := e.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return e.ExitCode()
}
