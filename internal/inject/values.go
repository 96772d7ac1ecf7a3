package inject

import (
	"fmt"
	"strconv"
	"strings"

	"azwi/contract"
	"azwi/internal/identitymap"
)

// readValues reads the annotations that can be wrong enough to refuse the pod.
func (in *injection) readValues() *Denial {
	if d := in.readExpiration(); d != nil {
		return d
	}
	if !in.proxy {
		return nil
	}
	if in.pod.spec.HostNetwork {
		return &Denial{ReasonHostNetwork, fmt.Sprintf(
			"annotation %s asks for the proxy, but the pod has hostNetwork: true: the redirect would change the node's own network; use one or the other",
			contract.InjectProxyAnnotation), Subject{Key: contract.InjectProxyAnnotation}}
	}
	if in.settings.Proxy.Image == "" {
		return &Denial{ReasonProxyImage, fmt.Sprintf(
			"annotation %s asks for the proxy, but no proxy image is configured: set %s to REGISTRY/%s:TAG, which azwi install --image-registry does",
			contract.InjectProxyAnnotation, contract.EnvProxyImage, contract.ProxyImageName), Subject{Key: contract.InjectProxyAnnotation}}
	}
	if in.proxyMode != contract.ProxyModeRedirect && in.proxyMode != contract.ProxyModeEnv {
		return &Denial{ReasonProxyMode, fmt.Sprintf("annotation %s is %s: allowed are %s and %s",
			contract.ProxyModeAnnotation, quote(in.proxyMode), contract.ProxyModeRedirect, contract.ProxyModeEnv), Subject{Key: contract.ProxyModeAnnotation}}
	}
	if d := in.readProxyPort(); d != nil {
		return d
	}
	if d := in.readIdentities(); d != nil {
		return d
	}
	if in.proxyMode == contract.ProxyModeRedirect {
		return in.checkProxyUID()
	}
	return nil
}

// readIdentities reads the lists that become the sidecar's arguments. What is in
// them is for the sidecar to check, but for the form.
func (in *injection) readIdentities() *Denial {
	in.identities = list(in.pod.metadata.Annotations[contract.ProxyIdentitiesAnnotation])
	in.allowed = list(in.pod.metadata.Annotations[contract.ProxyAllowedClientIDsAnnotation])
	for _, pair := range in.identities {
		id, target, ok := strings.Cut(pair, "=")
		client, tenant, other := strings.Cut(target, "@")
		if !ok || id == "" || !IsGUID(client) || other && !IsTenant(tenant) {
			return &Denial{ReasonProxyIdentity, fmt.Sprintf(
				"annotation %s has %s: allowed are ID=CLIENT_ID or ID=CLIENT_ID@TENANT, separated by semicolons, each client ID a GUID",
				contract.ProxyIdentitiesAnnotation, quote(pair)), Subject{Key: contract.ProxyIdentitiesAnnotation}}
		}
	}
	for _, client := range in.allowed {
		if !IsGUID(client) {
			return &Denial{ReasonProxyIdentity, fmt.Sprintf(
				"annotation %s has %s: allowed are client IDs, GUIDs separated by semicolons",
				contract.ProxyAllowedClientIDsAnnotation, quote(client)), Subject{Key: contract.ProxyAllowedClientIDsAnnotation}}
		}
	}
	return nil
}

// IsTenant reports whether s may be a tenant's ID or domain.
func IsTenant(s string) bool { return identitymap.IsTenant(s) }

// list splits at semicolons; blanks around items and empty items do not count.
func list(value string) []string {
	var items []string
	for item := range strings.SplitSeq(value, ";") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

func (in *injection) readExpiration() *Denial {
	in.expiration = contract.DefaultTokenExpiration
	where := "the pod"
	value := in.pod.metadata.Annotations[contract.TokenExpirationAnnotation]
	if value == "" {
		where = fmt.Sprintf("service account %s/%s", in.account.Namespace, in.account.Name)
		value = in.account.Annotations[contract.TokenExpirationAnnotation]
	}
	if value == "" {
		return nil
	}
	seconds, err := strconv.ParseInt(value, 10, 64)
	if err != nil || seconds < contract.MinTokenExpiration || seconds > contract.MaxTokenExpiration {
		return &Denial{ReasonTokenExpiration, fmt.Sprintf(
			"annotation %s of %s is %s: allowed is a whole number of seconds from %d to %d",
			contract.TokenExpirationAnnotation, where, quote(value), contract.MinTokenExpiration, contract.MaxTokenExpiration), Subject{Key: contract.TokenExpirationAnnotation}}
	}
	in.expiration = seconds
	return nil
}

func (in *injection) readProxyPort() *Denial {
	in.proxyPort = contract.DefaultProxyPort
	value, ok := in.pod.metadata.Annotations[contract.ProxyPortAnnotation]
	if !ok {
		return nil
	}
	port, err := strconv.ParseInt(value, 10, 32)
	if err != nil || port < 1 || port > 65535 {
		return &Denial{ReasonProxyPort, fmt.Sprintf(
			"annotation %s is %s: allowed is a port from 1 to 65535", contract.ProxyPortAnnotation, quote(value)), Subject{Key: contract.ProxyPortAnnotation}}
	}
	in.proxyPort = port
	return nil
}

// checkProxyUID refuses containers that run as the proxy's user: their requests
// would pass by the redirect and reach the node's identity.
func (in *injection) checkProxyUID() *Denial {
	var denial *Denial
	in.pod.containers(func(_ string, _ int, c podContainer) {
		uid := c.SecurityContext.RunAsUser
		if uid == nil {
			uid = in.pod.spec.SecurityContext.RunAsUser
		}
		if denial == nil && uid != nil && *uid == contract.ProxyUID && c.Name != contract.ProxyContainer && c.Name != contract.ProxyInitContainer {
			denial = &Denial{ReasonProxyUID, fmt.Sprintf(
				"container %s has runAsUser %d, which is the proxy's own and is not redirected to it: use another user",
				quote(c.Name), contract.ProxyUID), Subject{Container: c.Name}}
		}
	})
	return denial
}

// wantsProxy reads the annotation that asks for the proxy. Upstream injects
// whatever its value; values that are plainly no are obeyed here, and those that
// are neither yes nor no keep upstream's meaning.
func (p *Pod) wantsProxy() (bool, *Warning) {
	value, ok := p.metadata.Annotations[contract.InjectProxyAnnotation]
	if !ok {
		return false, nil
	}
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "true", "t", "1", "yes", "y", "on":
		return true, nil
	case "false", "f", "0", "no", "n", "off":
		return false, nil
	}
	return true, &Warning{ReasonProxyNotBoolean, fmt.Sprintf(
		`annotation %s is %s, which is neither true nor false: the proxy is injected; write "true" or "false"`,
		contract.InjectProxyAnnotation, quote(value)), Subject{Key: contract.InjectProxyAnnotation}}
}

// quote shows a value that somebody else chose: printable and not too long for a
// warning, which the API server cuts at 256 bytes.
func quote(value string) string {
	const most = 64
	if len(value) > most {
		value = value[:most] + "..."
	}
	return strconv.QuoteToASCII(value)
}
