// Package directory is what the emulated cloud holds: tenants, applications,
// service principals, managed identities and their federated credentials,
// subscriptions, roles and vaults; and the rules that Entra has for them. It
// knows neither HTTP nor how long a change takes to spread.
//
// Objects are immutable once stored: to change one, store a changed copy. So a
// pointer taken in View stays consistent after it.
package directory
