package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"

	"azwi/emulator"
)

// options are the command line.
type options struct {
	dir                              string
	listen, proxyListen, adminListen string
	seed, faults                     string
	randomSeed                       uint64
	hosts                            []string
	azurite                          string
	allowRemote                      bool
}

const usage = `azwi-emulator serves a local Microsoft Entra with Graph, Resource Manager and Key Vault.

  azwi-emulator &
  . .emulator/env
  az login --service-principal -u ` + emulator.DefaultOperatorID + ` -p ` + emulator.DefaultOperatorSecret + ` -t ` + emulator.DefaultTenantID + `

When it is ready it prints one line of JSON: authority, proxy, admin and dir.

Flags:
`

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("azwi-emulator", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&o.dir, "dir", ".emulator", "`folder` of the CA, the shell exports, the admin token and the state")
	fs.StringVar(&o.listen, "listen", "127.0.0.1:8443", "`address` of the direct endpoint, over TLS; port 0 takes a free one")
	fs.StringVar(&o.proxyListen, "proxy-listen", "127.0.0.1:8444", "`address` of the HTTPS proxy")
	fs.StringVar(&o.adminListen, "admin-listen", "127.0.0.1:8445", "`address` of the management API")
	fs.StringVar(&o.seed, "seed", "", "seed `file`, YAML or JSON: the initial contents of the directory")
	fs.StringVar(&o.faults, "faults", "", "faults `file`, YAML or JSON: the faults to inject")
	fs.Uint64Var(&o.randomSeed, "random-seed", 0, "repeats delays and faults of an earlier run; 0 draws a `number` and logs it")
	fs.Func("host", "another `name` or IP address in the certificate of the direct endpoint; may be repeated", func(s string) error {
		if s == "" || strings.ContainsAny(s, "/ *") {
			return errors.New("want a host name or an IP address")
		}
		o.hosts = append(o.hosts, s)
		return nil
	})
	fs.StringVar(&o.azurite, "azurite", "", "`URL` that requests for blob hosts are forwarded to")
	fs.BoolVar(&o.allowRemote, "insecure-allow-remote", false, "allow addresses that other machines can reach")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stderr, usage)
			fs.SetOutput(stderr)
			fs.PrintDefaults()
			return o, err
		}
		return o, fmt.Errorf("%w; see azwi-emulator -help", err)
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q; see azwi-emulator -help", fs.Arg(0))
	}
	return o, o.check()
}

// check reports all mistakes together.
func (o *options) check() error {
	var errs []error
	for _, a := range []struct{ flag, address string }{
		{"listen", o.listen}, {"proxy-listen", o.proxyListen}, {"admin-listen", o.adminListen},
	} {
		host, _, err := net.SplitHostPort(a.address)
		if err != nil {
			errs = append(errs, fmt.Errorf("-%s: %w", a.flag, err))
			continue
		}
		if ip, err := netip.ParseAddr(host); strings.EqualFold(host, "localhost") || (err == nil && ip.IsLoopback()) {
			continue
		}
		if !o.allowRemote {
			errs = append(errs, fmt.Errorf("-%s: %s is not loopback: other machines could get tokens and read the vaults; -insecure-allow-remote allows it", a.flag, a.address))
			continue
		}
		if a.flag == "listen" && host != "" {
			if ip, err := netip.ParseAddr(host); err != nil || !ip.IsUnspecified() {
				o.hosts = append(o.hosts, host)
			}
		}
	}
	if o.dir == "" {
		errs = append(errs, errors.New("-dir: is empty"))
	}
	return errors.Join(errs...)
}

// config reads the files that the options name.
func (o options) config() (emulator.Config, error) {
	c := emulator.Config{
		SeedName: o.seed, FaultsName: o.faults, Dir: o.dir, RandomSeed: o.randomSeed, Hosts: o.hosts, Azurite: o.azurite,
	}
	var err error
	if o.seed != "" {
		if c.Seed, err = os.ReadFile(o.seed); err != nil {
			return c, fmt.Errorf("read seed: %w", err)
		}
		if len(c.Seed) == 0 {
			return c, fmt.Errorf("read seed: %s is empty", o.seed)
		}
	}
	if o.faults != "" {
		if c.Faults, err = os.ReadFile(o.faults); err != nil {
			return c, fmt.Errorf("read faults: %w", err)
		}
	}
	return c, nil
}
