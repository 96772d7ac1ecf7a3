package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"azwi/emulator"
	"azwi/internal/atomicfile"
)

// Files in the folder, beside the state.
const (
	caFile     = "ca.crt"        // the emulator's CA alone
	bundleFile = "ca-bundle.crt" // with the system's roots
	envFile    = "env"
	tokenFile  = "admin-token"
)

// writeFiles writes what clients and tests need to find the emulator.
func writeFiles(dir string, e *emulator.Emulator, ready readyLine) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		data []byte
		mode fs.FileMode
	}{
		{caFile, e.CA(), 0o644},
		{bundleFile, e.CABundle(systemRoots(abs)), 0o644},
		{tokenFile, []byte(e.AdminToken() + "\n"), 0o600},
		{envFile, exports(abs, ready), 0o600},
	} {
		if err := atomicfile.Write(filepath.Join(abs, f.name), f.data, f.mode); err != nil {
			return fmt.Errorf("write %s: %w", f.name, err)
		}
	}
	return nil
}

// systemRoots reads the system's bundle, from where Go looks for it.
func systemRoots(dir string) []byte {
	for _, path := range []string{
		os.Getenv("SSL_CERT_FILE"),
		"/etc/ssl/certs/ca-certificates.crt",
		"/etc/pki/tls/certs/ca-bundle.crt",
		"/etc/ssl/ca-bundle.pem",
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
		"/etc/ssl/cert.pem",
	} {
		if path == "" || path == filepath.Join(dir, bundleFile) || isEmulators(filepath.Dir(path)) {
			continue
		}
		if data, err := os.ReadFile(path); err == nil && bytes.Contains(data, []byte("-----BEGIN CERTIFICATE-----")) {
			return data
		}
	}
	return nil
}

// isEmulators reports whether a folder is of some emulator, whose bundle the
// shell may have sourced.
func isEmulators(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, tokenFile))
	return err == nil
}

// exports are the lines for a shell's dot command.
func exports(dir string, ready readyLine) []byte {
	var b bytes.Buffer
	bundle := filepath.Join(dir, bundleFile)
	for _, v := range []struct{ name, value string }{
		{"HTTPS_PROXY", ready.Proxy},
		{"https_proxy", ready.Proxy},
		{"HTTP_PROXY", ready.Proxy},
		{"http_proxy", ready.Proxy},
		{"NO_PROXY", "localhost,127.0.0.1,::1"},
		{"no_proxy", "localhost,127.0.0.1,::1"},
		{"SSL_CERT_FILE", bundle},
		{"NODE_EXTRA_CA_CERTS", filepath.Join(dir, caFile)},
		{"REQUESTS_CA_BUNDLE", bundle},
		{"CURL_CA_BUNDLE", bundle},
	} {
		fmt.Fprintf(&b, "export %s='%s'\n", v.name, strings.ReplaceAll(v.value, "'", `'\''`))
	}
	return b.Bytes()
}
