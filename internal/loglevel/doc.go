// Package loglevel reads --log-level with the words that upstream's programs know,
// and makes the logger of programs that run for long, bounded in how much it writes.
package loglevel
