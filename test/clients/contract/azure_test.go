//go:build azure

package contract

import (
	"net/http"
	"os"
	"testing"
	"time"
)

// TestAzure needs a service principal as Backend describes it, for example:
//
//	AZURE_TENANT_ID=.. AZURE_CLIENT_ID=.. AZURE_CLIENT_SECRET=.. \
//	AZURE_SUBSCRIPTION_ID=.. AZURE_RESOURCE_GROUP=.. go test -tags azure ./contract
func TestAzure(t *testing.T) {
	b := PublicCloud()
	b.Client, b.Settle, b.Location = &http.Client{Timeout: time.Minute}, 30*time.Second, "westeurope"
	for name, to := range map[string]*string{
		"AZURE_TENANT_ID": &b.TenantID, "AZURE_CLIENT_ID": &b.ClientID, "AZURE_CLIENT_SECRET": &b.ClientSecret,
		"AZURE_SUBSCRIPTION_ID": &b.SubscriptionID, "AZURE_RESOURCE_GROUP": &b.Group,
	} {
		if *to = os.Getenv(name); *to == "" {
			t.Fatalf("%s is not set", name)
		}
	}
	Run(t, b)
}
