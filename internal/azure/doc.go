// Package azure owns how azwi signs in, which credential each --auth-method is and
// in which cloud; how every client of Azure sends (Service): credentials to the
// service's own origin only, answers and lists within bounds; what an error of it
// means (Refusal), and when to ask again (Retry). It never calls Graph or Resource
// Manager by itself, and never logs or returns a secret.
package azure
