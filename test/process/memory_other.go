//go:build !linux

package process

import "errors"

type memoryGroup struct{}

func newMemoryGroup(int64) (*memoryGroup, error) {
	return nil, errors.New("memory cgroups need Linux")
}

func (*memoryGroup) enter(binary string, args []string) (string, []string) { return binary, args }
func (*memoryGroup) kills() (int, error)                                   { return 0, nil }
func (*memoryGroup) peak() (int64, error)                                  { return 0, nil }
func (*memoryGroup) remove() error                                         { return nil }
