// Package imds is the wire protocol of managed identity: which requests ask for a
// token, in the forms of the instance metadata service (IMDS), App Service and
// Cloud Shell, and what the answers and errors look like.
//
// It gets no tokens and forwards nothing.
package imds
