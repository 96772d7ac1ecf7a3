// Package azure owns how azwi signs in, which credential each --auth-method is and
// in which cloud, and how every client of Azure sends: credentials to the
// service's own origin only, answers and lists within bounds. It never calls Graph
// or Resource Manager, and never logs or returns a secret.
package azure
