// Package graph is Microsoft Graph as far as federation needs it: applications
// with their federated credentials, secrets, certificates and owners, service
// principals and their directory roles, and the little that clients ask for to
// learn what they may do. There are no users and no groups.
package graph
