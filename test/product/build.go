package product

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// errDeadline refuses a build that a deadline could cut short: how long it takes
// depends on Go's caches and on what else the machine does.
var errDeadline = errors.New("the context has a deadline: build the program before the deadline starts")

// Build compiles a command of the product into dir and returns the binary. With
// race, it is built with the race detector and ends at the first race. The context
// must not have a deadline.
func Build(ctx context.Context, dir, command string, race bool) (string, error) {
	if _, has := ctx.Deadline(); has {
		return "", fmt.Errorf("build %s: %w", command, errDeadline)
	}
	binary := filepath.Join(dir, command)
	// The flags of make test, or else of make build: what those have compiled is not compiled again.
	args, env := []string{"build", "-o", binary}, os.Environ()
	if race {
		args, env = append(args, "-race"), append(env, "CGO_ENABLED=1")
	} else {
		args, env = append(args, "-trimpath", "-buildvcs=false", "-ldflags=-s -w"), append(env, "CGO_ENABLED=0")
	}
	root, err := Root(ctx)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/"+command)...)
	cmd.Dir, cmd.Env = root, env
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", command, err, out)
	}
	return binary, nil
}

// Root is the folder of the product's module. The working directory must be in
// this module, which replaces it.
func Root(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "azwi").Output()
	if err != nil {
		return "", fmt.Errorf("find the product's module: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// BuildTest compiles a program of this module, for a pod: source is its folder,
// below the module's. The context must not have a deadline.
func BuildTest(ctx context.Context, binary, source string) error {
	if _, has := ctx.Deadline(); has {
		return fmt.Errorf("build %s: %w", source, errDeadline)
	}
	root, err := Root(ctx)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", binary, source)
	cmd.Dir, cmd.Env = filepath.Join(root, "test"), append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", source, err, out)
	}
	return nil
}
