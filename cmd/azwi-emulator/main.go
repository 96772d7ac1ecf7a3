// Command azwi-emulator serves the emulated cloud on loopback: Microsoft
// Entra's token service, Graph, Resource Manager and Key Vault.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"azwi/emulator"
	"azwi/internal/loglevel"
	"azwi/internal/terminal"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func run(args []string, _ io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		terminal.New(stderr).Block("azwi-emulator: ", "  ", err.Error())
		return exitUsage
	}
	if err := o.serve(ctx, stdout, stderr); err != nil {
		terminal.New(stderr).Block("azwi-emulator: ", "  ", err.Error())
		return exitFailed
	}
	return exitOK
}

// serve runs the emulator until ctx ends.
func (o options) serve(ctx context.Context, stdout, stderr io.Writer) (err error) {
	config, err := o.config()
	if err != nil {
		return err
	}
	config.Logger = slog.New(loglevel.Bounded(slog.NewTextHandler(terminal.Log(stderr), nil)))
	listeners, err := o.bind(ctx)
	if err != nil {
		return err
	}
	// Serve closes them as well; closing twice does no harm.
	defer listeners.Authority.Close()
	defer listeners.Proxy.Close()
	defer listeners.Admin.Close()

	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return err
	}
	e, err := emulator.New(config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	ready := readyLine{
		Authority: "https://" + reachable(listeners.Authority.Addr()) + "/",
		Proxy:     "http://" + reachable(listeners.Proxy.Addr()),
		Admin:     "http://" + reachable(listeners.Admin.Addr()),
		Dir:       o.dir,
	}
	if err := writeFiles(o.dir, e, ready); err != nil {
		return err
	}
	if err := json.NewEncoder(stdout).Encode(ready); err != nil {
		return err
	}
	// Reading a large seed and writing the first state leave a multiple of what
	// they make, which without this would stay occupied for minutes.
	tidy := time.AfterFunc(2*time.Second, debug.FreeOSMemory)
	defer tidy.Stop()
	return e.Serve(ctx, listeners)
}

// readyLine is printed on stdout once the ports answer.
type readyLine struct {
	Authority string `json:"authority"`
	Proxy     string `json:"proxy"`
	Admin     string `json:"admin"`
	Dir       string `json:"dir"`
}

// reachable is the address by which this machine reaches a listener.
func reachable(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return a.String()
	}
	return net.JoinHostPort("127.0.0.1", fmt.Sprint(tcp.Port))
}

func (o options) bind(ctx context.Context) (l emulator.Listeners, err error) {
	var lc net.ListenConfig
	var open []net.Listener
	defer func() {
		if err != nil {
			for _, c := range open {
				_ = c.Close()
			}
		}
	}()
	for _, b := range []struct {
		to      *net.Listener
		address string
	}{{&l.Authority, o.listen}, {&l.Proxy, o.proxyListen}, {&l.Admin, o.adminListen}} {
		if *b.to, err = lc.Listen(ctx, "tcp", b.address); err != nil {
			return l, err
		}
		open = append(open, *b.to)
	}
	return l, nil
}
