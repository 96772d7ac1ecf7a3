package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"azwi/internal/doctor/page"
	"azwi/internal/finding"
)

// Page is the survey as a map of service accounts and identities.
func (s *Survey) Page(now time.Time) page.Page {
	findings := map[string][]finding.Finding{}
	for _, c := range s.Causes {
		for _, one := range c.Cases {
			findings[one.Object] = append(findings[one.Object], one.Finding)
		}
	}
	p := page.Page{Facts: fmt.Sprintf("%s. Running pods: %d, service accounts with a client ID: %d, identities: %d",
		now.UTC().Format("2006-01-02 15:04 MST"), s.Pods, s.Accounts, s.Identities)}
	unread := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(s.accounts)) {
		a := s.accounts[key]
		found := slices.Clone(findings["service account "+key])
		for _, workload := range a.workloads {
			found = append(found, findings[workload]...)
		}
		if a.clientID == "" && len(found) == 0 {
			continue
		}
		id := strings.ToLower(a.clientID)
		p.Accounts = append(p.Accounts, page.Account{Namespace: a.namespace, Name: a.name, ClientID: id, Pods: a.pods, Findings: found})
		unread[id] = id != ""
	}
	for _, q := range s.Quotas {
		p.Identities = append(p.Identities, page.Identity{Name: q.Identity, ClientID: q.ClientID, Used: q.Used, Limit: q.Limit})
		unread[q.ClientID] = false
	}
	for id, is := range unread {
		if is {
			p.Identities = append(p.Identities, page.Identity{ClientID: id})
		}
	}
	slices.SortFunc(p.Identities, func(a, b page.Identity) int { return strings.Compare(a.Name+" "+a.ClientID, b.Name+" "+b.ClientID) })
	return p
}
