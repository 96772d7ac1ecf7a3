// Package exchange owns the flags that say whose tokens a command works with, and
// waiting until they are issued. The exchange itself is internal/token/entra's,
// waiting's rules are internal/identity/propagation's.
package exchange
