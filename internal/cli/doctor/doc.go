// Package doctor is azwi doctor: flags in, and the chain of links printed.
package doctor
