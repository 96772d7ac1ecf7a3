package install

import (
	"fmt"
	"slices"
	"strings"
)

// unqualified returns the webhook's and the proxy's images that name no registry.
// Nodes look for these where their runtime is set to, mostly in a public registry
// where the name may be anybody's.
func unqualified(objects []Object) []string {
	var found []string
	var walk func(key string, value any)
	walk = func(key string, value any) {
		switch value := value.(type) {
		case map[string]any:
			for key, value := range value {
				walk(key, value)
			}
		case []any:
			for _, value := range value {
				walk(key, value)
			}
		case string:
			if (key == "image" || key == "PROXY_IMAGE" || key == "PROXY_INIT_IMAGE") && !hasRegistry(value) && !slices.Contains(found, value) {
				found = append(found, value)
			}
		}
	}
	for _, o := range objects {
		if kind, _ := o["kind"].(string); kind == "Deployment" || kind == "ConfigMap" {
			walk("", map[string]any(o))
		}
	}
	slices.Sort(found)
	return found
}

// hasRegistry reports whether a reference begins with a registry's host.
// Source: https://pkg.go.dev/github.com/distribution/reference
func hasRegistry(reference string) bool {
	first, _, more := strings.Cut(reference, "/")
	return more && (strings.ContainsAny(first, ".:") || first == "localhost")
}

// warnOfImages says so where images come from nobody knows where.
func (p *plan) warnOfImages() {
	if images := unqualified(p.objects); len(images) > 0 {
		p.config.Report(fmt.Sprintf("note: no registry is named for %s: nodes take them from their default one, unless they have them already; "+
			"make push puts them into yours, --image-registry names it", strings.Join(images, ", ")))
	}
}
