package connect

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"azwi/internal/finding"
	"azwi/internal/token/entra"
)

// az puts a program of that name, which is never run, into $PATH, or nothing.
func az(t *testing.T, there bool) {
	t.Helper()
	folder := t.TempDir()
	if there {
		if err := os.WriteFile(filepath.Join(folder, "az"), []byte("#!/bin/false\n"), 0o700); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", folder)
}

// TestAzSubscription says what keeps az from being used, and how to go on.
func TestAzSubscription(t *testing.T) {
	profile := t.TempDir()
	const text = `{"subscriptions": [{"id": "s1", "tenantId": "t1", "isDefault": true, "environmentName": "AzureCloud"}, {"id": "s2", "tenantId": "t2"}]}`
	if err := os.WriteFile(filepath.Join(profile, "azureProfile.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, folder, id string
		there            bool
		code             finding.Code
		says, tenant     string
	}{
		{name: "missing", folder: profile, code: finding.CodeAzMissing, says: "https://aka.ms/azure-cli"},
		{name: "missing, with a subscription", folder: profile, id: "s2", code: finding.CodeAzMissing, says: "az login"},
		{name: "signed out", folder: t.TempDir(), there: true, code: finding.CodeAzSignedOut, says: "run az login"},
		{name: "its own choice", folder: profile, there: true, tenant: "t1"},
		{name: "a subscription", folder: profile, id: "S2", there: true, tenant: "t2"},
		{name: "a subscription that az does not know", folder: profile, id: "s3", there: true},
	} {
		az(t, test.there)
		getenv := func(name string) string { return map[string]string{"AZURE_CONFIG_DIR": test.folder}[name] }
		got, err := azSubscription(getenv, test.id, entra.Clouds()[0])
		if test.code == "" && err != nil || test.code != "" && (!errors.Is(err, test.code) || !strings.Contains(err.Error(), test.says)) {
			t.Errorf("%s: %v, want %q", test.name, err, test.says)
		}
		if got.TenantID != test.tenant {
			t.Errorf("%s: tenant %q, want %q", test.name, got.TenantID, test.tenant)
		}
	}
}
