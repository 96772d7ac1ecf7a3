package emulator

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"

	"azwi/contract"
	"azwi/emulator/internal/hosts"
	"azwi/emulator/internal/journal"
	"azwi/internal/token/entra"
)

// A proxy is the HTTP proxy: it ends the TLS of CONNECT requests to Azure's
// hosts itself, answers plain requests for the metadata service, and refuses
// every other host.
type proxy struct {
	emulator *Emulator
	tunnels  *tunnels
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect {
		p.connect(w, r)
		return
	}
	if host, port := splitPort(r.URL.Host, "80"); r.URL.Scheme == "http" && host == contract.IMDSAddress && port == "80" {
		rec := journal.Watch(w, r, p.emulator.clock.Now())
		p.emulator.serve(rec, r, hosts.Target{Service: hosts.IMDS, Cloud: entra.Clouds()[0], Base: "http://" + host, Path: r.URL.Path})
		p.emulator.note(rec, string(hosts.IMDS))
		return
	}
	p.refuse(w, r.Host)
}

// refuse says which host is not served, so that the reason for a broken
// connection stands in the client's own error where it shows the body.
func (p *proxy) refuse(w http.ResponseWriter, host string) {
	p.emulator.log.Warn("proxy refused a host", "host", host)
	http.Error(w, fmt.Sprintf("azwi-emulator: the proxy serves Azure's hosts only, not %q", host), http.StatusForbidden)
}

func (p *proxy) connect(w http.ResponseWriter, r *http.Request) {
	host, port := splitPort(r.Host, "")
	if _, known := hosts.Lookup(host); !known || port != "443" {
		p.refuse(w, r.Host)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "azwi-emulator: CONNECT needs HTTP/1.1", http.StatusHTTPVersionNotSupported)
		return
	}
	_ = conn.SetDeadline(time.Time{})
	if _, err := conn.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		_ = conn.Close()
		return
	}
	if !p.tunnels.add(&tunnel{Conn: conn, read: buffered.Reader}) {
		_ = conn.Close()
	}
}

func splitPort(hostport, otherwise string) (host, port string) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return hostport, otherwise
	}
	return host, port
}

// A tunnel is a connection after CONNECT. Its client may have sent the first
// bytes of TLS already.
type tunnel struct {
	net.Conn
	read *bufio.Reader
}

func (t *tunnel) Read(p []byte) (int, error) { return t.read.Read(p) }

// tunnels hands the connections of the proxy to an ordinary server.
type tunnels struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newTunnels() *tunnels {
	return &tunnels{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (t *tunnels) add(c net.Conn) bool {
	select {
	case t.conns <- c:
		return true
	case <-t.closed:
		return false
	}
}

// Accept waits for the next tunnel.
func (t *tunnels) Accept() (net.Conn, error) {
	select {
	case c := <-t.conns:
		return c, nil
	case <-t.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (t *tunnels) Close() error {
	t.once.Do(func() { close(t.closed) })
	return nil
}

// Addr is of no use.
func (t *tunnels) Addr() net.Addr { return &net.UnixAddr{Name: "proxy", Net: "unix"} }

// forwardBlobs sends requests for blob hosts to an Azurite, which tells accounts
// apart by the Host header.
func forwardBlobs(azurite string) (http.Handler, error) {
	if azurite == "" {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "azwi-emulator: blobs are forwarded to an Azurite, and none is configured", http.StatusBadGateway)
		}), nil
	}
	u, err := url.Parse(azurite)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, errors.New("azurite: want a URL such as http://127.0.0.1:10000")
	}
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(u)
		r.Out.Host = r.In.Host
	}}, nil
}
