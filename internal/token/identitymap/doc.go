// Package identitymap reads ID=CLIENT_ID[@TENANT], the pairs of the annotation
// azure.workload.identity/proxy-identities and of the proxy's flag --identity. It
// is the one reader of them, so that what admission lets through starts the proxy.
// It knows nothing of pods and requests.
package identitymap
