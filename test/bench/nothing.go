package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"azwi/contract"
)

// nothingArgument makes this binary the webhook that does nothing, or adds one
// constant variable: the least that any webhook, or any that mutates, can cost.
const nothingArgument = "serve-nothing"

func serveNothing(args []string, stderr io.Writer) int {
	fs := flag.NewFlagSet(nothingArgument, flag.ContinueOnError)
	certs := fs.String("certs", "", "folder of tls.crt and tls.key")
	mutate := fs.Bool("mutate", false, "add one variable to the first container")
	if fs.Parse(args) != nil {
		return 2
	}
	var patch string
	if *mutate {
		patch = fmt.Sprintf(`,"patchType":"JSONPatch","patch":%q`, base64.StdEncoding.EncodeToString(
			[]byte(`[{"op":"add","path":"/spec/containers/0/env","value":[{"name":"`+contract.EnvTenantID+`","value":"t"}]}]`)))
	}
	return serveHandler(*certs, stderr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Request    struct {
				UID string `json:"uid"`
			} `json:"request"`
		}
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"apiVersion":%q,"kind":%q,"response":{"uid":%q,"allowed":true%s}}`, review.APIVersion, review.Kind, review.Request.UID, patch)
	}))
}

// serveHandler serves until SIGTERM and logs its address in the product's form.
func serveHandler(certs string, stderr io.Writer, h http.Handler) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13}}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	fmt.Fprintf(stderr, `{"msg":"serving","addr":%q}`+"\n", listener.Addr())
	if err := server.ServeTLS(listener, filepath.Join(certs, "tls.crt"), filepath.Join(certs, "tls.key")); ctx.Err() == nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}
