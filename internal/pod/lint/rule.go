package lint

import "azwi/internal/finding"

// Rules returns the catalogue's entries that lint looks for, in the order of
// docs/lint.md.
func Rules() []finding.Entry {
	var rules []finding.Entry
	for _, e := range finding.Catalogue() {
		if e.Page == "lint.md" {
			rules = append(rules, e)
		}
	}
	return rules
}
