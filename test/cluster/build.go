package cluster

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Version is the Kubernetes release that the binary holds. The folder kube requires the same one.
const Version = "v1.37.2"

// sourceDir is where the binary's source is, below the repository's root.
const sourceDir = "test/cluster/kube"

// BuildConfig says where the Kubernetes binary is made.
type BuildConfig struct {
	// Root is the repository's root. Default: the nearest folder above the
	// working directory that holds test/cluster/kube.
	Root string
	// Cache is the folder that keeps built binaries, one for each version and
	// source. Default: .cache in Root.
	Cache string
	// Progress is told of a build, which takes minutes the first time:
	// one line that changes if it is a terminal, else a line each 30 seconds.
	// Default: os.Stderr.
	Progress io.Writer
	// ServersOnly is for who needs etcd and kube-apiserver only: unless the cache has
	// the whole binary, Build makes one of these two, which takes half as long.
	ServersOnly bool
}

// Build returns the path of the multi-call Kubernetes binary, building it if the
// cache has none for the present version and source. Processes that call it at
// the same time build once: the others wait. A build that was stopped goes on
// where it was, as Go's build cache keeps each package.
func Build(ctx context.Context, cfg BuildConfig) (string, error) {
	if cfg.Progress == nil {
		cfg.Progress = os.Stderr
	}
	root, err := cfg.root()
	if err != nil {
		return "", err
	}
	cfg.Root = root
	if cfg.Cache == "" {
		cfg.Cache = filepath.Join(cfg.Root, ".cache")
	}
	source := filepath.Join(cfg.Root, sourceDir)
	sum, err := sourceSum(source)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cfg.Cache, "kube-"+Version+"-"+sum)
	whole := variant{file: filepath.Join(dir, "kube"), what: "Kubernetes " + Version, duration: "8 minutes"}
	wanted := whole
	if cfg.ServersOnly {
		wanted = variant{filepath.Join(dir, "servers"), "etcd and kube-apiserver " + Version, "4 minutes", "servers"}
	}
	built := func() string {
		for _, file := range []string{whole.file, wanted.file} {
			if exists(file) {
				return file
			}
		}
		return ""
	}
	if file := built(); file != "" {
		return file, nil
	}

	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	progress := newProgress(cfg.Progress)
	unlock, err := lock(ctx, filepath.Join(dir, "lock"), func() {
		progress.say("waiting for another process that builds Kubernetes %s", Version)
	})
	if err != nil {
		return "", err
	}
	defer unlock()
	if file := built(); file != "" { // while this process waited
		return file, nil
	}
	if err := wanted.build(ctx, source, progress); err != nil {
		return "", fmt.Errorf("build %s: %w", wanted.what, err)
	}
	return wanted.file, nil
}

// A variant is what is built from the source: all programs, or fewer by a build tag.
type variant struct{ file, what, duration, tags string }

func (v variant) build(ctx context.Context, source string, progress *progress) error {
	progress.say("building %s from Go modules: about %s on two idle cores the first time, half a minute once its packages are cached", v.what, v.duration)
	partial := v.file + ".partial"
	if err := v.compile(ctx, source, partial, progress); err != nil {
		return err
	}
	progress.done("built %s", v.what)
	return os.Rename(partial, v.file)
}

func (v variant) compile(ctx context.Context, source, output string, progress *progress) error {
	total, cached, err := v.countPackages(ctx, source, progress)
	if err != nil {
		return err
	}
	cmd := goCommand(ctx, source, "build", "-v", "-tags", v.tags, "-trimpath", "-buildvcs=false", "-ldflags", linkerFlags(), "-o", output, ".")
	linking := func() { progress.say("%s: linking", progress.elapsed()) }
	if cached >= total-1 {
		linking()
	}
	compiled := 0
	messages, err := runLines(cmd, func(line string) bool {
		if strings.ContainsAny(line, " \t") {
			return false
		}
		compiled++ // go build -v names each package as it begins with it
		progress.update("package %d of %d", cached+compiled, total)
		if compiled == total-cached-1 { // the last, the program itself, goes unnamed as a rule
			linking()
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, messages)
	}
	return nil
}

// countPackages downloads what is missing and returns how many packages the
// binary is made of, and how many of them need no compiling any more.
func (v variant) countPackages(ctx context.Context, source string, progress *progress) (total, cached int, err error) {
	cmd := goCommand(ctx, source, "list", "-tags", v.tags, "-trimpath", "-deps", "-f", "{{.Stale}}", ".")
	var out bytes.Buffer
	cmd.Stdout = &out
	downloads := 0
	messages, err := runLines(cmd, func(line string) bool {
		if !strings.HasPrefix(line, "go: downloading ") {
			return false
		}
		downloads++
		progress.update("module %d downloaded", downloads)
		return true
	})
	if err != nil {
		return 0, 0, fmt.Errorf("list its packages: %w\n%s", err, messages)
	}
	for line := range strings.Lines(out.String()) {
		total++
		if strings.TrimSpace(line) == "false" {
			cached++
		}
	}
	return total, cached, nil
}

// goCommand has the flags' counterparts in the environment fixed, so that each
// build finds the packages of the last in Go's cache.
func goCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	// Asked to stop, go removes its temporary files; killed, it leaves them.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// runLines runs cmd and hands over each line of its standard error as it comes;
// those that handle does not take are returned.
func runLines(cmd *exec.Cmd, handle func(line string) bool) (rest string, err error) {
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	var kept strings.Builder
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if !handle(lines.Text()) && kept.Len() < 1<<16 {
			kept.WriteString(lines.Text() + "\n")
		}
	}
	return kept.String(), errors.Join(lines.Err(), cmd.Wait())
}

// linkerFlags make the programs report Version: with the default, v0.0.0-master,
// clients and feature checks take the server for an ancient one.
func linkerFlags() string {
	numbers := strings.Split(strings.TrimPrefix(Version, "v"), ".")
	var flags strings.Builder
	flags.WriteString("-s -w")
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		for _, v := range [][2]string{
			{"gitVersion", Version}, {"gitMajor", numbers[0]}, {"gitMinor", numbers[1]},
			{"gitTreeState", "clean"}, {"gitCommit", "unknown"},
		} {
			fmt.Fprintf(&flags, " -X %s.%s=%s", pkg, v[0], v[1])
		}
	}
	return flags.String()
}

// sourceSum names what the binary is made from: its source, its modules and the toolchain.
func sourceSum(source string) (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.Version(), runtime.GOOS, runtime.GOARCH, linkerFlags())
	for _, pattern := range []string{"*.go", "go.mod", "go.sum"} {
		files, err := filepath.Glob(filepath.Join(source, pattern))
		if err != nil {
			return "", err
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				return "", err
			}
			fmt.Fprintln(hash, filepath.Base(file), len(content))
			hash.Write(content)
		}
	}
	return hex.EncodeToString(hash.Sum(nil))[:12], nil
}

func (c BuildConfig) root() (string, error) {
	if c.Root != "" {
		return c.Root, nil
	}
	return findRoot()
}

func findRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if exists(filepath.Join(dir, sourceDir, "go.mod")) {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no folder %s in or above %s: run inside the repository, or name its root", sourceDir, start)
		}
	}
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return !errors.Is(err, fs.ErrNotExist)
}

// lock takes the file lock, calling waiting once if another process holds it.
// The lock ends with the process that holds it, however that ends.
func lock(ctx context.Context, file string, waiting func()) (unlock func(), err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", file, err)
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-poll.C:
		}
	}
}
