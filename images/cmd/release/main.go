// Command release makes the files of a release out of binaries that are built already:
// an archive and an SBOM for each program and platform, the manifests and the packed
// chart, sha256sums.txt over all, and the notes out of the changelog. Files that scripts
// fetch have upstream's names. It serves the make target release.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"azwi/images"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, _ io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := command{stdout: stdout}
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&c.programs, "programs", "dist/programs", "`folder` with the binaries, OS-ARCH/NAME")
	flags.StringVar(&c.out, "out", "dist/release", "`folder` to make; what is in it goes")
	flags.StringVar(&c.version, "version", "", "the release's version, such as v1.2.3")
	flags.Int64Var(&c.epoch, "epoch", 0, "the `time` on the files in the archives, in seconds since 1970")
	flags.StringVar(&c.licence, "licence", "LICENSE", "the `file` of the product's licence")
	flags.StringVar(&c.changelog, "changelog", "CHANGELOG.md", "the `file` with a section for each version")
	flags.StringVar(&c.deploy, "deploy", "deploy", "`folder` with the manifests")
	flags.StringVar(&c.chart, "chart", "charts/workload-identity-webhook", "`folder` of the chart")
	flags.StringVar(&c.registry, "registry", "", "the `registry` that has the images, for manifests and chart (default: whoever installs names it)")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if err := c.release(ctx); err != nil {
		fmt.Fprintf(stderr, "release: %v\n", err)
		return 1
	}
	return 0
}

type command struct {
	programs, out, version, licence, changelog string
	deploy, chart, registry                    string
	epoch                                      int64
	stdout                                     io.Writer
}

func (c command) release(ctx context.Context) error {
	if c.version == "" {
		return errors.New("-version is needed")
	}
	changelog, err := os.ReadFile(c.changelog)
	if err != nil {
		return err
	}
	// First, so that a forgotten section costs no time.
	notes, err := section(string(changelog), c.version)
	if err != nil {
		return fmt.Errorf("%s: %w", c.changelog, err)
	}
	found, err := filepath.Glob(filepath.Join(c.programs, "*-*", "azwi*"))
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fmt.Errorf("no programs in %s: make release builds them", c.programs)
	}
	if err := os.RemoveAll(c.out); err != nil {
		return err
	}
	if err := os.MkdirAll(c.out, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(c.out, "NOTES.md"), []byte(notes), 0o644); err != nil {
		return err
	}
	for _, binary := range found {
		if err := c.pack(ctx, binary); err != nil {
			return err
		}
	}
	packed, err := images.WriteChart(c.out, images.ChartSpec{Dir: c.chart, Version: c.version, Registry: c.registry, Created: time.Unix(c.epoch, 0)})
	if err != nil {
		return err
	}
	if err := c.manifests(); err != nil {
		return err
	}
	for _, name := range packed {
		fmt.Fprintln(c.stdout, filepath.Join(c.out, name))
	}
	return c.sum()
}

// manifests writes those of the deploy folder, with the release's version and, if one
// is given, the registry of its images.
func (c command) manifests() error {
	files, err := filepath.Glob(filepath.Join(c.deploy, "*.yaml"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("no manifests in %s", c.deploy)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		label := regexp.MustCompile(`app\.kubernetes\.io/version: (\S+)`)
		found := label.FindSubmatch(text)
		if found == nil {
			return fmt.Errorf("%s names no version", file)
		}
		text = label.ReplaceAll(text, []byte(`app.kubernetes.io/version: "`+string(found[1])+`"`)) // a version may look like a number
		text = bytes.ReplaceAll(text, found[1], []byte(c.version))
		if c.registry != "" {
			text = bytes.ReplaceAll(text, []byte("${AZWI_IMAGE_REGISTRY}"), []byte(c.registry))
		}
		name := filepath.Join(c.out, filepath.Base(file))
		if err := os.WriteFile(name, text, 0o644); err != nil {
			return err
		}
		fmt.Fprintln(c.stdout, name)
	}
	return nil
}

// pack makes the archive and the SBOM of one program.
func (c command) pack(ctx context.Context, binary string) error {
	platform := filepath.Base(filepath.Dir(binary))
	name := strings.TrimSuffix(filepath.Base(binary), ".exe")
	other := filepath.Join(c.out, name+"_"+c.version+"_"+strings.ReplaceAll(platform, "-", "_"))
	// Upstream's name. Scripts take the one file whose name has the platform in this form.
	archive := filepath.Join(c.out, name+"-"+c.version+"-"+platform)
	if name != "azwi" {
		archive = other
	}
	suffix := ".tar.gz"
	if strings.HasPrefix(platform, "windows-") {
		suffix = ".zip" // what Windows can open
	}
	sbom, err := images.WriteProgram(ctx, images.Spec{
		Reference: name + ":" + c.version, Binary: binary, Licence: c.licence, Created: time.Unix(c.epoch, 0),
	}, archive+suffix)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.stdout, archive+suffix)
	return os.WriteFile(other+".spdx.json", sbom, 0o644)
}

// sum writes sha256sums.txt, as sha256sum --check reads it.
func (c command) sum() error {
	files, err := os.ReadDir(c.out) // sorted
	if err != nil {
		return err
	}
	var sums strings.Builder
	for _, f := range files {
		content, err := os.ReadFile(filepath.Join(c.out, f.Name()))
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		fmt.Fprintf(&sums, "%s  %s\n", hex.EncodeToString(sum[:]), f.Name())
	}
	return os.WriteFile(filepath.Join(c.out, "sha256sums.txt"), []byte(sums.String()), 0o644)
}

// section returns what the changelog says of a version. A build that is not a release, as
// its version is not vX.Y.Z, gets what is unreleased.
func section(changelog, version string) (string, error) {
	want := version
	if !regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.]+)?$`).MatchString(version) || describes(version) {
		want = "Unreleased"
	}
	lines := strings.Split(changelog, "\n")
	begin := slices.IndexFunc(lines, func(l string) bool {
		title, is := strings.CutPrefix(l, "## ")
		first, _, _ := strings.Cut(title, " ") // a date may follow
		return is && first == want
	})
	if begin < 0 {
		return "", fmt.Errorf("there is no section %q: write it before the release", "## "+want)
	}
	rest := lines[begin+1:]
	if end := slices.IndexFunc(rest, func(l string) bool { return strings.HasPrefix(l, "## ") }); end >= 0 {
		rest = rest[:end]
	}
	text := strings.TrimSpace(strings.Join(rest, "\n"))
	if text == "" {
		return "", fmt.Errorf("the section %q is empty", "## "+want)
	}
	return text + "\n", nil
}

// describes reports whether git describe made the version of a commit after a tag:
// v1.2.3-4-g0123456, or -dirty.
func describes(version string) bool {
	return regexp.MustCompile(`-\d+-g[0-9a-f]+|-dirty$`).MatchString(version)
}
