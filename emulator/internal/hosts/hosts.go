package hosts

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"azwi/internal/token/entra"
)

// A Service is one of the emulated services.
type Service string

// The services. Blob is not emulated, only forwarded.
const (
	Authority       Service = "authority"
	Graph           Service = "graph"
	ResourceManager Service = "resource-manager"
	Vault           Service = "vault"
	Blob            Service = "blob"
	IMDS            Service = "imds"
)

// A Target says where a request is meant to go and how its answer has to write
// URLs.
type Target struct {
	Service Service
	Cloud   entra.Cloud
	// Name is the vault or storage account; empty for other services.
	Name string
	// Base is the URL of the service as the client sees it, without a slash at
	// its end: "https://management.azure.com", or in direct mode
	// "https://127.0.0.1:8443/vaults/NAME".
	Base string
	// Authority is the token service that belongs to it, without a slash at its
	// end.
	Authority string
	// Path is the request's path below Base.
	Path string
}

// Lookup finds the service behind an Azure host name, which may carry a port.
func Lookup(host string) (Target, bool) {
	name := strings.ToLower(strip(host))
	for _, c := range entra.Clouds() {
		t := Target{Cloud: c, Base: "https://" + name, Authority: strings.TrimSuffix(c.AuthorityHost, "/")}
		switch {
		case name == hostOf(c.AuthorityHost) || slices.Contains(c.AuthorityAliases, name):
			t.Service, t.Authority = Authority, "https://"+name
		case name == hostOf(c.Graph):
			t.Service = Graph
		case name == hostOf(c.ResourceManager):
			t.Service = ResourceManager
		default:
			if v, ok := below(name, c.VaultSuffix); ok {
				t.Service, t.Name = Vault, v
			} else if a, ok := below(name, c.BlobSuffix); ok {
				t.Service, t.Name = Blob, a
			} else {
				continue
			}
		}
		return t, true
	}
	return Target{}, false
}

// Names are the host names that a certificate for all services must carry, with
// wildcards for vaults and blobs.
func Names() []string {
	var names []string
	for _, c := range entra.Clouds() {
		names = append(names, hostOf(c.AuthorityHost), hostOf(c.Graph), hostOf(c.ResourceManager), "*."+c.VaultSuffix, "*."+c.BlobSuffix)
		names = append(names, c.AuthorityAliases...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// IsLoopback reports whether host, which may carry a port, is this machine only.
func IsLoopback(host string) bool {
	name := strip(host)
	if strings.EqualFold(name, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.Unmap().IsLoopback()
}

// Named reports whether host, which may carry a port, is one of names.
func Named(names []string, host string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, strip(host)) })
}

// SameResource compares two resource URIs as resource servers do: whatever the
// case, and with or without the slash at the end.
func SameResource(a, b string) bool {
	return strings.EqualFold(strings.TrimRight(a, "/"), strings.TrimRight(b, "/"))
}

// ServiceOf finds the service whose tokens have this resource as audience. A
// loopback URL is every service at once, since in direct mode they share one
// origin; the answer is then ResourceManager.
func ServiceOf(resource string) (Service, bool) {
	for _, c := range entra.Clouds() {
		switch {
		case SameResource(resource, c.Graph):
			return Graph, true
		case SameResource(resource, "https://"+c.VaultSuffix):
			return Vault, true
		case slices.ContainsFunc(c.ResourceManagerAudiences, func(a string) bool { return SameResource(resource, a) }):
			return ResourceManager, true
		}
	}
	// The application IDs of the services themselves are the same in all clouds.
	switch strings.ToLower(resource) {
	case "00000003-0000-0000-c000-000000000000":
		return Graph, true
	case "797f4846-ba00-4fd7-ba43-dac1f8f63013":
		return ResourceManager, true
	case "cfa8b339-82a2-471a-a3c9-0fc0be7a4093":
		return Vault, true
	}
	if u, err := url.Parse(resource); err == nil && u.Scheme == "https" && IsLoopback(u.Host) {
		return ResourceManager, true
	}
	return "", false
}

// Accepts reports whether the service accepts tokens with this audience.
func (s Service) Accepts(audience string) bool {
	if u, err := url.Parse(audience); err == nil && u.Scheme == "https" && IsLoopback(u.Host) {
		return true
	}
	got, ok := ServiceOf(audience)
	return ok && got == s
}

func strip(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}

func hostOf(rawURL string) string {
	_, rest, _ := strings.Cut(rawURL, "://")
	host, _, _ := strings.Cut(rest, "/")
	return host
}

// below returns the single label that stands before suffix in name.
func below(name, suffix string) (string, bool) {
	label, ok := strings.CutSuffix(name, "."+suffix)
	return label, ok && label != "" && !strings.Contains(label, ".")
}
