package cli_test

import "testing"

func TestInject(t *testing.T) { suite{folder: "inject"}.run(t) }
