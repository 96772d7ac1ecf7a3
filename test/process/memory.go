package process

import (
	"errors"
	"fmt"
	"os"
	"testing"
)

// MemoryUse is what a child with Config.Memory has used.
type MemoryUse struct {
	// Peak is the most it has used at a time, in bytes, with what the kernel holds
	// for it.
	Peak int64
	// Kills is how many of its processes the kernel has killed for the limit.
	Kills int
}

// Memory tells what the child has used so far, also after its end.
func (c *Child) Memory() (MemoryUse, error) {
	if c.memory == nil {
		return MemoryUse{}, errors.New("the child has no Config.Memory")
	}
	select {
	case <-c.done:
		return c.used, c.usedErr
	default:
	}
	use, err := c.memory.use()
	if err != nil {
		select {
		case <-c.done: // ended meanwhile
			return c.used, c.usedErr
		default:
		}
	}
	return use, err
}

func (g *memoryGroup) use() (MemoryUse, error) {
	kills, err := g.kills()
	peak, err2 := g.peak()
	return MemoryUse{Peak: peak, Kills: kills}, errors.Join(err, err2)
}

// NeedMemoryLimit skips a test on a machine that can't limit a child's memory:
// that takes Linux and root. Where CI=true, root and no limit is a failure.
func NeedMemoryLimit(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("limiting a child's memory takes root")
	}
	g, err := newMemoryGroup(1 << 30)
	if err == nil {
		err = g.remove()
	}
	if err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(fmt.Errorf("limit a child's memory: %w", err))
	}
	t.Skipf("this machine can't limit a child's memory: %v", err)
}
