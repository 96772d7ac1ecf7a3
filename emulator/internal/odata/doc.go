// Package odata parses the $filter expressions that clients of Graph and
// Resource Manager send: eq, startswith, any with eq, and calls such as
// atScope(), joined by and. It knows no entity's fields.
package odata
