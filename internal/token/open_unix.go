//go:build unix

package token

import (
	"os"
	"syscall"
)

// openFlags open the cache file itself, not what a link points to, and never wait
// for a pipe.
const openFlags = os.O_RDONLY | syscall.O_NOFOLLOW | syscall.O_NONBLOCK
