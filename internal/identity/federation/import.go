package federation

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Import writes the file that wants exactly the credentials of service accounts
// that there are: its plan is empty. The text is the same for the same
// credentials. names are those of clusters by issuer; others are numbered.
// audience is the one to leave out. What a file can't say stands in comments.
func Import(targets []Target, names map[string]string, audience string) (text []byte, err error) {
	f := File{APIVersion: APIVersion, Kind: Kind}
	clusters := clusterNames(targets, names)
	for _, issuer := range slices.Sorted(maps.Keys(clusters)) {
		f.Clusters = append(f.Clusters, Cluster{Name: clusters[issuer], Issuer: issuer})
	}
	slices.SortFunc(f.Clusters, func(a, b Cluster) int { return strings.Compare(a.Name, b.Name) })
	var left []string
	used := map[string]bool{}
	targets = slices.Clone(targets)
	slices.SortFunc(targets, func(a, b Target) int {
		return strings.Compare(a.Identity.Name+a.Identity.key(), b.Identity.Name+b.Identity.key())
	})
	for _, t := range targets {
		entries, others := importOne(t, clusters, audience)
		left = append(left, others...)
		for _, e := range entries {
			base := entryName(t.Identity.Name)
			e.Name = base
			for n := 2; used[e.Name]; n++ {
				e.Name = fmt.Sprintf("%s-%d", base, n)
			}
			used[e.Name] = true
			f.Identities = append(f.Identities, e)
		}
	}
	return f.text(left)
}

// entryName makes a valid name of an identity's.
func entryName(name string) string {
	valid := strings.Map(func(r rune) rune {
		if validName("a" + string(r)) {
			return r
		}
		return '-'
	}, name)
	valid = strings.TrimLeft(valid, "._-")
	if valid == "" {
		return "identity"
	}
	return valid[:min(len(valid), 56)] // room for a number
}

// clusterNames gives each issuer of a service account a name.
func clusterNames(targets []Target, names map[string]string) map[string]string {
	var issuers []string
	for _, t := range targets {
		for _, c := range t.Existing {
			if _, _, ok := ParseSubject(c.Subject); ok && IssuerProblem(c.Issuer) == "" {
				issuers = append(issuers, c.Issuer)
			}
		}
	}
	slices.Sort(issuers)
	out, taken := map[string]string{}, map[string]bool{}
	for _, name := range names {
		taken[name] = true
	}
	n := 0
	for _, issuer := range slices.Compact(issuers) {
		out[issuer] = names[issuer]
		for out[issuer] == "" {
			n++
			if name := fmt.Sprintf("cluster-%d", n); !taken[name] {
				out[issuer] = name
			}
		}
	}
	return out
}

// importOne groups an identity's credentials: those clusters go together that
// have the same audience and the same service accounts.
func importOne(t Target, clusters map[string]string, audience string) (entries []Entry, left []string) {
	type group struct{ audience, cluster string }
	accounts := map[group][]string{}
	for _, c := range t.Existing {
		namespace, account, ok := ParseSubject(c.Subject)
		cluster, known := clusters[c.Issuer]
		if !ok || !known {
			left = append(left, fmt.Sprintf("%s: credential %q, issuer %q, subject %q", t.Identity.Name, c.Name, c.Issuer, c.Subject))
			continue
		}
		g := group{c.Audience, cluster}
		accounts[g] = append(accounts[g], namespace+"/"+account)
	}
	same := map[string][]group{}
	for g, list := range accounts {
		slices.Sort(list)
		key := g.audience + "\n" + strings.Join(list, "\n")
		same[key] = append(same[key], g)
	}
	for _, key := range slices.Sorted(maps.Keys(same)) {
		groups := same[key]
		e := Entry{ServiceAccounts: accounts[groups[0]]}
		if groups[0].audience != audience {
			e.Audience = groups[0].audience
		}
		if t.Identity.IsApplication() {
			e.Application = &Application{ClientID: t.ClientID}
		} else {
			e.ManagedIdentity = t.Identity.ManagedIdentity.String()
		}
		for _, g := range groups {
			e.Clusters = append(e.Clusters, g.cluster)
		}
		slices.Sort(e.Clusters)
		entries = append(entries, e)
	}
	slices.Sort(left)
	return entries, left
}

// text writes the file in the order of its fields.
func (f File) text(left []string) ([]byte, error) {
	var out bytes.Buffer
	fmt.Fprintf(&out, "apiVersion: %s\nkind: %s\n", f.APIVersion, f.Kind)
	// A scalar of YAML, in quotes where it needs them.
	var failed error
	scalar := func(s string) string {
		raw, err := yaml.Marshal(s)
		if err != nil {
			failed = err
		}
		return strings.TrimSuffix(string(raw), "\n")
	}
	fmt.Fprintln(&out, "clusters:")
	for _, c := range f.Clusters {
		fmt.Fprintf(&out, "  - name: %s\n    issuer: %s\n", scalar(c.Name), scalar(c.Issuer))
	}
	fmt.Fprintln(&out, "identities:")
	for _, e := range f.Identities {
		fmt.Fprintf(&out, "  - name: %s\n", scalar(e.Name))
		if e.Application != nil {
			fmt.Fprintf(&out, "    application:\n      clientID: %s\n", scalar(e.Application.ClientID))
		} else {
			fmt.Fprintf(&out, "    managedIdentity: %s\n", scalar(e.ManagedIdentity))
		}
		if e.Audience != "" {
			fmt.Fprintf(&out, "    audience: %s\n", scalar(e.Audience))
		}
		for _, list := range []struct {
			name  string
			items []string
		}{{"clusters", e.Clusters}, {"serviceAccounts", e.ServiceAccounts}} {
			fmt.Fprintf(&out, "    %s:\n", list.name)
			for _, item := range list.items {
				fmt.Fprintf(&out, "      - %s\n", scalar(item))
			}
		}
	}
	if len(left) > 0 {
		fmt.Fprintln(&out, "# Left out, since they are not of service accounts:")
		for _, line := range left {
			fmt.Fprintln(&out, "#   "+line)
		}
	}
	return out.Bytes(), failed
}
