// Command images makes the product's OCI images out of binaries that are built
// already, and pushes them. It serves the make targets images and push.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"azwi/images"
)

const usage = `usage: images COMMAND [flags]

  build  make DIST/images/{webhook,proxy,emulator}-linux-ARCH.tar and .spdx.json
         out of the binaries DIST/linux-ARCH/azwi-*
  push   push what build made to -registry, both platforms under one reference
`

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, _ io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	actions := map[string]func(command, context.Context) error{"build": command.build, "push": command.push}
	if len(args) == 0 || actions[args[0]] == nil {
		fmt.Fprint(stderr, usage)
		return 2
	}
	c := command{stdout: stdout}
	flags := flag.NewFlagSet("images "+args[0], flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&c.dist, "dist", "dist", "`folder` of the binaries and the images")
	flags.StringVar(&c.version, "version", "", "build: the images' tag")
	flags.StringVar(&c.revision, "revision", "", "build: the commit they are made from")
	flags.Int64Var(&c.epoch, "epoch", 0, "build: the `time` on them, in seconds since 1970")
	flags.StringVar(&c.licence, "licence", "LICENSE", "build: the `file` of the product's licence")
	flags.StringVar(&c.architectures, "arch", "amd64,arm64", "for which `architectures`")
	flags.StringVar(&c.registry, "registry", "", "push: where to, such as registry.example/team")
	switch err := flags.Parse(args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "images %s: unknown argument %q\n", args[0], flags.Arg(0))
		return 2
	}
	if err := actions[args[0]](c, ctx); err != nil {
		fmt.Fprintf(stderr, "images %s: %v\n", args[0], err)
		return 1
	}
	return 0
}

type command struct {
	dist, version, revision, licence, architectures, registry string
	epoch                                                     int64
	stdout                                                    io.Writer
}

// products are the images, each for one binary azwi-NAME.
func products() []images.Spec {
	return []images.Spec{
		{Title: "webhook", Description: "Injects workload identity into pods", User: images.NonRoot},
		{
			Title:       "proxy",
			Description: "Serves managed identity requests with workload identity: the sidecar and, with the argument init, the redirect",
			User:        images.ProxyUser,
		},
		{
			Title: "emulator", Description: "A local Microsoft Entra for tests", User: images.NonRoot, Folder: "/data",
			// In a container of its own nobody reaches loopback. The management API
			// stays there nevertheless.
			Args: []string{"--dir=/data", "--listen=0.0.0.0:8443", "--proxy-listen=0.0.0.0:8444", "--insecure-allow-remote"},
		},
	}
}

func (c command) arches() []string { return strings.Split(c.architectures, ",") }

func (c command) file(name, arch, suffix string) string {
	return filepath.Join(c.dist, "images", name+"-linux-"+arch+suffix)
}

func (c command) build(ctx context.Context) error {
	if c.version == "" {
		return errors.New("-version is needed: the images' tag")
	}
	if err := os.MkdirAll(filepath.Join(c.dist, "images"), 0o755); err != nil {
		return err
	}
	for _, spec := range products() {
		name := spec.Title
		spec.Title = "azwi-" + name
		spec.Reference = "azwi/" + name + ":" + c.version
		spec.Revision, spec.Licence, spec.Created = c.revision, c.licence, time.Unix(c.epoch, 0)
		for _, arch := range c.arches() {
			spec.Binary = filepath.Join(c.dist, "linux-"+arch, spec.Title)
			image, err := images.Build(ctx, spec)
			if err != nil {
				return err
			}
			if got := image.Platform.OS + "/" + image.Platform.Architecture; got != "linux/"+arch {
				return fmt.Errorf("%s is for %s", spec.Binary, got)
			}
			archive := c.file(name, arch, ".tar")
			if err := image.WriteArchive(archive); err != nil {
				return err
			}
			if err := os.WriteFile(c.file(name, arch, ".spdx.json"), image.SBOM, 0o644); err != nil {
				return err
			}
			digest, err := image.Digest()
			if err != nil {
				return err
			}
			fmt.Fprintf(c.stdout, "%-40s %s linux/%s %s\n", archive, spec.Reference, arch, digest)
		}
	}
	return nil
}

func (c command) push(ctx context.Context) error {
	if c.registry == "" {
		return errors.New("-registry is needed, such as registry.example/team (make push REGISTRY=registry.example/team)")
	}
	work, err := os.MkdirTemp("", "azwi-images-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	for _, spec := range products() {
		var built []*images.Image
		for _, arch := range c.arches() {
			image, err := images.ReadArchive(c.file(spec.Title, arch, ".tar"), work)
			if err != nil {
				return fmt.Errorf("%w: run `make images` first", err)
			}
			if image.SBOM, err = os.ReadFile(c.file(spec.Title, arch, ".spdx.json")); err != nil {
				return err
			}
			built = append(built, image)
		}
		pushed, err := images.Push(ctx, c.registry, built, remote.WithAuthFromKeychain(authn.DefaultKeychain))
		if err != nil {
			return err
		}
		fmt.Fprintf(c.stdout, "%s:%s@%s\n", pushed.Context(), built[0].Reference.TagStr(), pushed.DigestStr())
	}
	return nil
}
