package cli_test

import "testing"

func TestFirst(t *testing.T) { suite{folder: "first"}.run(t) }
