// Package certs is the emulator's certificate authority and the one certificate
// it issues. Name constraints limit the authority to the served hosts and to
// loopback, so that trusting it opens nothing else.
package certs
