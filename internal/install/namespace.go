package install

// DefaultNamespace is where azwi is installed, as upstream is.
const DefaultNamespace = "azure-workload-identity-system"

// DefaultRelease is the name that goes into the labels.
const DefaultRelease = "azwi"

// NewNamespace returns the namespace to install into. It enforces Pod Security
// restricted, which the webhook's pods meet unless they are on the node's network.
func NewNamespace(name string, hostNetwork bool) Object {
	labels := map[string]any{"azure-workload-identity.io/system": "true"}
	if !hostNetwork {
		labels["pod-security.kubernetes.io/enforce"] = "restricted"
	}
	return Object{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name, "labels": labels}}
}
