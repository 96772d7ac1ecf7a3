package exec

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

// asParent makes this test's program run cat as exec runs a command.
const asParent = "AZWI_TEST_AS_PARENT"

// A command does not outlive an azwi that is killed: cat ends, though its input is open.
func TestCommandEndsWithKilledAzwi(t *testing.T) {
	t.Parallel()
	if os.Getenv(asParent) != "" { //nolint:forbidigo // tells the test's program that it is the parent
		child := exec.CommandContext(t.Context(), "cat")
		child.Stdin, child.Stdout = os.Stdin, os.Stdout
		t.Fatal(runForwarding(child))
	}
	in, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	output, writes, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	parent := exec.CommandContext(t.Context(), in, "-test.run=^TestCommandEndsWithKilledAzwi$")
	parent.Env, parent.Stdout = append(os.Environ(), asParent+"=1"), writes
	input, err := parent.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer input.Close()
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	writes.Close()
	if err := output.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(input, "ready\n"); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(output)
	if line, err := lines.ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(lines); err != nil {
		t.Errorf("the command goes on: %v", err)
	}
	_ = parent.Wait() // killed
}
