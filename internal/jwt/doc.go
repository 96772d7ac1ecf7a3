// Package jwt takes JSON Web Tokens apart without verifying them: that is Entra's and the
// API server's business. No error holds a token.
package jwt
