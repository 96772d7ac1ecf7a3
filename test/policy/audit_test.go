package policy_test

import (
	"context"
	"testing"
	"time"

	"azwi/internal/pod/inject/injecttest"
	"azwi/internal/pod/policy"
)

// TestAudited: the audit log tells which engine, of which version, admitted a pod.
func TestAudited(t *testing.T) {
	t.Parallel()
	c := control.Start(t)
	namespace := newNamespace(t, c)
	install(t, c, namespace, policy.Config{Settings: injecttest.Settings()})
	if err := createAccount(t.Context(), c, namespace, "orders", guid(1), nil); err != nil {
		t.Fatal(err)
	}
	waitIdentity(t, c, namespace, "orders", guid(1))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for key, want := range map[string]string{"engine": "policy", "version": "test"} {
		if got, err := c.Audited(ctx, namespace, namespace+"/"+key); err != nil || got != want {
			t.Errorf("%s is %q (%v), want %q", key, got, err, want)
		}
	}
}
