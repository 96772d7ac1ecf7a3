// Package entra holds what this project knows of Microsoft Entra: the clouds and
// their endpoints, what each AADSTS error code means for somebody who federates a
// service account, and the exchange of a service account token (the assertion)
// for an access token.
//
// It caches nothing, retries nothing and imports no Kubernetes package.
package entra
