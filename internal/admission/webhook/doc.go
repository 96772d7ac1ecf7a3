// Package webhook serves pod admission over HTTP: it decodes the envelope of a
// review, has the service account read, lets package inject decide, and answers.
// It also owns the server around that: certificates and their reload, health,
// metrics, draining.
//
// It never decides itself what changes in a pod, and never logs one.
package webhook
