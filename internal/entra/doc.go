// Package entra holds what this project knows of Microsoft Entra: the clouds and
// their endpoints, and what each AADSTS error code means for somebody who
// federates a service account.
//
// It does no I/O and imports no Kubernetes package.
package entra
