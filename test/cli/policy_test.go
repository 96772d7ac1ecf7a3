package cli_test

import "testing"

func TestPolicy(t *testing.T) { suite{folder: "policy", commands: more()}.run(t) }
