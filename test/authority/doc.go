// Package authority tests the webhook's own certificate on the real API server: alone,
// with several replicas, beside upstream's cert-controller and after it, and while the
// API server is away. Folder certcontroller has that program, a module of its own.
package authority
