// Package guid recognizes GUIDs, the form of Entra's client, object and tenant IDs.
// Making new ones is left to github.com/google/uuid.
package guid
