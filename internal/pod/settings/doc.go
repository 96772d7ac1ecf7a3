// Package settings reads the cluster-wide choices of injection from flags and
// environment variables, with the names that upstream's webhook has, and checks
// them once. Whoever needs the same choices (the webhook, the policy generator,
// the command line) takes them from here.
package settings
