package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// mountNamespace says how to start a program in a mount namespace of its own; nil
// where that needs more rights than we have.
func mountNamespace() *syscall.SysProcAttr {
	if os.Geteuid() != 0 {
		return nil
	}
	// Go makes all mounts private in the new namespace, so nothing shows outside.
	return &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
}

// inside makes the pod's files in memory, where the pod has them, and becomes the
// program. /var/run is an empty file system of this namespace alone.
func inside(stdin io.Reader, stderr io.Writer) int {
	var run confined
	err := json.NewDecoder(stdin).Decode(&run)
	var target string
	if err == nil {
		target, err = filepath.EvalSymlinks("/var/run")
	}
	if err == nil {
		err = syscall.Mount("azwi-demo", target, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, "size=1m,mode=0755")
	}
	if err == nil {
		err = writeFiles("/", run.Files)
	}
	if err == nil {
		err = syscall.Exec(run.Program, []string{run.Program}, run.Env)
	}
	fmt.Fprintln(stderr, "prepare the pod's files:", err)
	return 1
}
