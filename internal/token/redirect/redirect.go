package redirect

import (
	"fmt"

	"azwi/contract"
	"azwi/internal/finding"
)

// Config of a redirect.
type Config struct {
	// Port of the proxy on 127.0.0.1. Default: contract.DefaultProxyPort.
	Port int
	// UID whose traffic is left alone: the proxy's own. Default: contract.ProxyUID.
	UID int
}

// Table is the name of the table, in family ip.
const Table = "azwi_proxy"

// Priority puts the rule before those of service meshes, which are at -100
// (NF_IP_PRI_NAT_DST): the first rule that translates a connection decides.
const Priority = -110

// Errors of Apply and Remove, for errors.Is.
var (
	// ErrNoRoute: nothing leads to the metadata service's address. The kernel
	// refuses such connections before any rule sees them.
	ErrNoRoute = finding.NoRoute().Err(nil)
	// ErrNotPermitted: NET_ADMIN is missing.
	ErrNotPermitted = finding.NetAdminMissing().Err(nil)
	// ErrNotSupported: the kernel or the sandbox has no nftables.
	ErrNotSupported = finding.NoNFTables().Err(nil)
)

func (c Config) withDefaults() (Config, error) {
	if c.Port == 0 {
		c.Port = contract.DefaultProxyPort
	}
	if c.UID == 0 {
		c.UID = contract.ProxyUID
	}
	if c.Port < 1 || c.Port > 65535 || c.UID < 0 {
		return c, fmt.Errorf("redirect: port %d or user %d is out of range", c.Port, c.UID)
	}
	return c, nil
}
