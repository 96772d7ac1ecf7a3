package azure

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"azwi/internal/token/entra"
)

// A Subscription is one that az has signed in to.
type Subscription struct {
	ID       string `json:"id"`
	TenantID string `json:"tenantId"`
	Default  bool   `json:"isDefault"`
	// Cloud is az's own name of it.
	Cloud string `json:"environmentName"`
}

// maxProfile bounds az's profile, in bytes.
const maxProfile = 16 << 20

// DefaultSubscription reads which subscription az works in, for a cloud, from its
// folder ($AZURE_CONFIG_DIR, else ~/.azure). It is empty if az has none.
func DefaultSubscription(folder string, cloud entra.Cloud) (Subscription, error) {
	name := filepath.Join(folder, "azureProfile.json")
	file, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Subscription{}, nil
	}
	if err != nil {
		return Subscription{}, fmt.Errorf("read az's profile: %w", err)
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxProfile))
	if err != nil {
		return Subscription{}, fmt.Errorf("read az's profile: %w", err)
	}
	var profile struct{ Subscriptions []Subscription }
	// az begins the file with a byte order mark.
	if err := json.Unmarshal(bytes.TrimPrefix(raw, []byte("\ufeff")), &profile); err != nil {
		return Subscription{}, fmt.Errorf("read az's profile %s: %w", name, err)
	}
	for _, s := range profile.Subscriptions {
		if s.Default && strings.EqualFold(s.Cloud, cloud.AzName) {
			return s, nil
		}
	}
	return Subscription{}, nil
}
