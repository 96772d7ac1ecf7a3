//go:build !unix

package token

import "os"

// openFlags open the cache file.
const openFlags = os.O_RDONLY
