// Package retryafter reads the Retry-After header of HTTP answers.
package retryafter
