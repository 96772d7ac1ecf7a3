package exec

import (
	"os/exec"
	"syscall"
)

// endWithParent ends the command with azwi, even if that is killed: it would go on
// without its endpoint, and with credentials that nobody renews or removes.
func endWithParent(child *exec.Cmd) {
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
