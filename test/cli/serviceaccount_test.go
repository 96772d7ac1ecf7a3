package cli_test

import "testing"

func TestServiceAccount(t *testing.T) {
	suite{folder: "serviceaccount", commands: more(), setup: keepWorld}.run(t)
}
