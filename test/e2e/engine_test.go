package e2e_test

import (
	"errors"
	"testing"
)

var errJobFailed = errors.New("the Job failed")

func TestWebhookEngine(t *testing.T) {
	w := start(t)
	w.install(t)
	t.Run("Identities", func(t *testing.T) { w.testIdentities(t, "webhook") })
	t.Run("Doctor", w.testDoctor)
	t.Run("OwnPodsAreRestricted", w.testOwnPods)
	t.Run("EmulatorImage", w.testEmulatorImage)
	t.Run("TokenRotation", w.testRotation)
	t.Run("RollingUpdate", func(t *testing.T) { w.whileScaling(t, "rolling-update", true, w.rollingUpdate) })
	t.Run("NodeDrain", func(t *testing.T) { w.whileScaling(t, "node-drain", true, w.drain) })
	t.Run("CertificateRotation", func(t *testing.T) { w.whileScaling(t, "certificate-rotation", true, w.rotateCertificate) })
	t.Run("APIServerRestart", func(t *testing.T) { w.whileScaling(t, "webhook-restart", false, w.restartAPIServer) })
	t.Run("Status", func(t *testing.T) { w.wantStatus(t, "webhook") })
}

// TestPolicyEngine comes after the webhook: the one takes the other's place while
// pods are created.
func TestPolicyEngine(t *testing.T) {
	w := start(t)
	w.install(t)
	t.Run("Switch", func(t *testing.T) { w.whileScaling(t, "switch", true, w.switchToPolicy) })
	t.Run("Identities", func(t *testing.T) { w.testIdentities(t, "policy") })
	t.Run("APIServerRestart", func(t *testing.T) { w.whileScaling(t, "policy-restart", false, w.restartAPIServer) })
	t.Run("Status", func(t *testing.T) { w.wantStatus(t, "policy") })
	t.Run("UninstallLeavesNothing", func(t *testing.T) {
		w.mustAzwi(t, "uninstall", "--yes")
		w.wantNothingLeft(t, w.before)
	})
}
