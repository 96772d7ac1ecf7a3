// Package page draws the map of service accounts and identities as one page of HTML that
// stands alone.
package page
