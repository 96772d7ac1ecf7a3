// Package permission owns what the signed-in caller may do: it knows beforehand
// whether a write to the directory or to Resource Manager will be refused, which
// action is missing, and which roles grant it.
package permission
