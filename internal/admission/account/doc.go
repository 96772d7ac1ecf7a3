// Package account reads service accounts from the API server, live, for
// admission. It owns the promise that an answer is never older than the question:
// a pod sent after its account's creation or change was confirmed sees that
// account as it was then or newer. So nothing is cached, and memory does not grow
// with the number of accounts. docs/decisions tells why, with figures.
package account
