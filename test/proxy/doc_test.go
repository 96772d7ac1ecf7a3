// Package proxy_test runs the real azwi-proxy as the sidecar of a pod: in network
// namespaces that the tests make, with real nftables rules, real clients and the
// emulator in Entra's place.
package proxy_test
