package cli_test

import "testing"

func TestLint(t *testing.T) { suite{folder: "lint"}.run(t) }
