package cli_test

import "testing"

func TestFederation(t *testing.T) {
	suite{folder: "federation", commands: more(), setup: keepWorld}.run(t)
}
