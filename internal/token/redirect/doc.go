// Package redirect sends a pod's traffic for the metadata service to the proxy:
// one nftables table of its own in the network namespace of the process, with one
// rule, written through netlink. It needs the capability NET_ADMIN and neither a
// shell nor iptables.
//
// It touches no other table. Linux only.
package redirect
