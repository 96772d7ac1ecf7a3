// Package connlimit bounds the connections of an HTTP server, and decides which one
// goes when there are too many. It sees no request and no byte of them.
package connlimit
