// Package loglevel reads --log-level with the words that upstream's programs know.
package loglevel
