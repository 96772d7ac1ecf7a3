package cli_test

import "testing"

func TestPermissions(t *testing.T) {
	suite{folder: "permissions", commands: more(), setup: keepWorld}.run(t)
}
