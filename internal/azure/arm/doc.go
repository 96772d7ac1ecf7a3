// Package arm is a thin layer on Azure Resource Manager's SDK modules: managed
// identities, their federated identity credentials, role assignments, and what
// the caller may do. It decides nothing: what to create is internal/identity/federation's.
package arm
