// Package vault is Key Vault as far as reading and setting secrets goes, with
// its challenge and with Azure RBAC deciding. Access policies, keys and
// certificates are not modelled.
package vault
