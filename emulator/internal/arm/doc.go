// Package arm is Azure Resource Manager as far as workload identity needs it:
// managed identities and their federated credentials, role assignments and
// definitions, the permissions API, subscriptions, tenants, resource groups and
// vaults.
package arm
