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
	Name     string `json:"name"`
	// Cloud is az's own name of it.
	Cloud string `json:"environmentName"`
	// User is who signed in.
	User struct{ Name string }
}

// A Profile is what az knows of who signed in. It is empty if nobody did.
type Profile struct{ Subscriptions []Subscription }

// maxProfile bounds az's profile, in bytes.
const maxProfile = 16 << 20

// ReadProfile reads az's profile in its folder ($AZURE_CONFIG_DIR, else ~/.azure).
func ReadProfile(folder string) (Profile, error) {
	name := filepath.Join(folder, "azureProfile.json")
	file, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Profile{}, nil
	}
	if err != nil {
		return Profile{}, fmt.Errorf("read az's profile: %w", err)
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxProfile))
	if err != nil {
		return Profile{}, fmt.Errorf("read az's profile: %w", err)
	}
	var profile Profile
	// az begins the file with a byte order mark.
	if err := json.Unmarshal(bytes.TrimPrefix(raw, []byte("\ufeff")), &profile); err != nil {
		return Profile{}, fmt.Errorf("read az's profile %s: %w", name, err)
	}
	return profile, nil
}

// Subscription is the one with an ID, or without one that in which az works in a cloud. It
// is empty if az has none.
func (p Profile) Subscription(id string, cloud entra.Cloud) Subscription {
	for _, s := range p.Subscriptions {
		if id == "" && s.Default && strings.EqualFold(s.Cloud, cloud.AzName) || id != "" && strings.EqualFold(s.ID, id) {
			return s
		}
	}
	return Subscription{}
}
