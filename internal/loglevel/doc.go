// Package loglevel reads --log-level with the words that upstream's programs know,
// and bounds how much is logged.
package loglevel
