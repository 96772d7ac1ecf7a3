package e2e_test

import (
	"errors"
	"testing"
)

var errJobFailed = errors.New("the Job failed")

func TestWebhookEngine(t *testing.T) {
	w := start(t)
	w.install(t, "webhook")
	t.Run("Identities", func(t *testing.T) { w.testIdentities(t, "webhook") })
}
