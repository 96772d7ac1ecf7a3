//go:build !linux

package redirect

import "context"

// Apply works on Linux only.
func Apply(context.Context, Config) error { return ErrNotSupported }

// Remove works on Linux only.
func Remove(context.Context) error { return ErrNotSupported }
