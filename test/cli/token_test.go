package cli_test

import "testing"

func TestToken(t *testing.T) { suite{folder: "token"}.run(t) }
