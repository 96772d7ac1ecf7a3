package azure

import (
	"strings"

	"azwi/internal/token/entra"
)

// OneOrigin is a cloud whose services are all on one https origin, as the
// emulator's direct way in. Audiences are those of the public cloud.
func OneOrigin(origin string) (c entra.Cloud, graphAudience string) {
	c = entra.Clouds()[0]
	graphAudience = c.Graph
	origin = strings.TrimSuffix(origin, "/")
	c.Name, c.AzName, c.AuthorityHost, c.Graph, c.ResourceManager = origin, origin, origin+"/", origin, origin
	return c, graphAudience
}
