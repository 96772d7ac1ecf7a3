// Package accesstoken signs the emulator's access tokens and verifies them for
// the emulated resource servers. It owns the signing key and the claims; who may
// have a token is decided in package sts.
package accesstoken
