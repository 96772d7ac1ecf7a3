// Package httpsurl reads URLs to which credentials or tokens are sent, or that name an
// issuer: https, with a host, and nothing that could hide where they lead.
package httpsurl
