//go:build !unix

package exec

import (
	"os"
	"os/exec"
)

// forwarded are the signals that a command under exec gets from azwi: none, the
// console sends them to all its programs.
func forwarded() []os.Signal { return []os.Signal{os.Interrupt} }

// holdSession and removeLeft need Unix' locks.
func holdSession(string) (*os.File, error) { return nil, nil }
func removeLeft(string) error              { return nil }

func fromTerminal(os.Signal) bool { return true }

func exitCode(e *exec.ExitError) int { return e.ExitCode() }
