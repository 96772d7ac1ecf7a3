package cli_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestScreens compares what people see on a terminal of 40 lines and $COLUMNS (80) columns.
func TestScreens(t *testing.T) {
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("there is no tmux: ", err)
	}
	suite{folder: "screens", commands: more(), setup: keepWorld}.run(t)
}

// screen is a command for scripts: it runs a command in tmux and prints the screen that it
// leaves, without what differs from run to run.
func screen() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute) //nolint:forbidigo // a program begins its context
	text, err := screenOf(ctx, os.Args[1:])
	cancel()
	if err == nil {
		_, err = os.Stdout.WriteString(text)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "screen:", err)
		os.Exit(1)
	}
}

const screenEnd = "-- exit "

func screenOf(ctx context.Context, args []string) (text string, err error) {
	dir, err := os.MkdirTemp("", "azwi-screen-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	tmux := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "tmux", append([]string{"-u", "-S", filepath.Join(dir, "socket"), "-f", "/dev/null"}, args...)...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("tmux %s: %w: %s", args[0], err, out)
		}
		return string(out), err
	}
	const script = `"$@"; echo "` + screenEnd + `$?"; exec sleep 600`
	columns := cmp.Or(os.Getenv("COLUMNS"), "80")
	if _, err := tmux(append([]string{"new-session", "-d", "-x", columns, "-y", "40", "sh", "-c", script, "sh"}, args...)...); err != nil {
		return "", err
	}
	defer func() {
		_, killed := tmux("kill-server")
		err = errors.Join(err, killed)
	}()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		shown, err := tmux("capture-pane", "-p")
		if err != nil {
			return "", err
		}
		if at := strings.LastIndex(shown, screenEnd); at >= 0 && strings.Contains(shown[at:], "\n") {
			return anonymous(strings.TrimRight(shown, "\n") + "\n"), nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("%w; the screen is\n%s", ctx.Err(), shown)
		case <-poll.C:
		}
	}
}

// anonymous puts something of the same length in place of what differs.
func anonymous(text string) string {
	for pattern, instead := range map[string]string{
		`\bcli-[a-z0-9]{8}\b`: "cli-xxxxxxxx",
		`127\.0\.0\.1:\d{5}`:  "127.0.0.1:ppppp",
		`\b[0-9a-f]{64}\b`:    strings.Repeat("h", 64),
		`\b[0-9a-f]{8}-[0-9a-f]{4}-[1-7][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b`: "gggggggg-gggg-gggg-gggg-gggggggggggg",
	} {
		text = regexp.MustCompile(pattern).ReplaceAllStringFunc(text, func(found string) string {
			if strings.Contains(found, "-0000-4000-8000-") {
				return found // one of the script's own
			}
			return instead
		})
	}
	return text
}
