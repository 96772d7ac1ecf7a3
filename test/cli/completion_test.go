package cli_test

import "testing"

func TestCompletion(t *testing.T) { suite{folder: "completion"}.run(t) }
