package redirect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"

	"azwi/contract"
)

// Apply sets the redirect, in place of one that is there already, in one
// transaction. It is safe to call again.
func Apply(ctx context.Context, c Config) error {
	c, err := c.withDefaults()
	if err != nil {
		return err
	}
	if err := checkRoute(ctx); err != nil {
		return err
	}
	conn, err := nftables.New()
	if err != nil {
		return explain("open netlink", err)
	}
	return set(conn, c)
}

func set(conn *nftables.Conn, c Config) error {
	table := conn.AddTable(table())
	conn.DelTable(table) // what was there; without the line before it might fail
	table = conn.AddTable(table)
	accept := nftables.ChainPolicyAccept
	chain := conn.AddChain(&nftables.Chain{
		Name: "output", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityRef(Priority), Policy: &accept,
	})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: rule(c)})
	if err := conn.Flush(); err != nil {
		return explain("set the redirect", err)
	}
	return nil
}

// Remove undoes Apply. Where nothing was applied it does nothing.
func Remove(context.Context) error {
	conn, err := nftables.New()
	if err != nil {
		return explain("open netlink", err)
	}
	return unset(conn)
}

func unset(conn *nftables.Conn) error {
	conn.DelTable(conn.AddTable(table()))
	if err := conn.Flush(); err != nil {
		return explain("remove the redirect", err)
	}
	return nil
}

func table() *nftables.Table { return &nftables.Table{Family: nftables.TableFamilyIPv4, Name: Table} }

// rule is: meta skuid != UID ip daddr 169.254.169.254 tcp dport 80 counter redirect to :PORT
func rule(c Config) []expr.Any {
	const (
		destination     = 16 // of the IPv4 header, in bytes
		destinationPort = 2  // of the TCP header
	)
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeySKUID, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(uint32(c.UID))},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: destination, Len: 4},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: net.ParseIP(contract.IMDSAddress).To4()},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{syscall.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: destinationPort, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(contract.IMDSPort)},
		&expr.Counter{},
		&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(uint16(c.Port))},
		&expr.Redir{RegisterProtoMin: 1},
	}
}

// checkRoute asks the kernel for the route, by connecting a UDP socket: that
// sends nothing.
func checkRoute(ctx context.Context) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp4", net.JoinHostPort(contract.IMDSAddress, strconv.Itoa(contract.IMDSPort)))
	switch {
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return fmt.Errorf("%w (%w)", ErrNoRoute, err)
	case err != nil:
		return fmt.Errorf("look for a route to %s: %w", contract.IMDSAddress, err)
	}
	return conn.Close()
}

func explain(attempt string, err error) error {
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		err = fmt.Errorf("%w (%w)", ErrNotPermitted, err)
	case errors.Is(err, syscall.EPROTONOSUPPORT), errors.Is(err, syscall.EAFNOSUPPORT), errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.ENOENT):
		err = fmt.Errorf("%w (%w)", ErrNotSupported, err)
	}
	return fmt.Errorf("%s: %w", attempt, err)
}
