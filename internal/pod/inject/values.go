package inject

import (
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"azwi/contract"
	"azwi/internal/guid"
	"azwi/internal/token/identitymap"
)

// readValues reads the annotations that can be wrong enough to refuse the pod.
func (in *injection) readValues() *Denial {
	if d := in.readExpiration(); d != nil {
		return d
	}
	if d := in.checkAccount(); d != nil {
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
	if in.pod.onWindows() {
		return &Denial{ReasonProxyWindows, fmt.Sprintf(
			"annotation %s asks for the proxy, which does not run on Windows, but the pod is for Windows nodes: remove the annotation and use an SDK that supports workload identity",
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
	if d := in.readQuantities(); d != nil {
		return d
	}
	if in.proxyMode == contract.ProxyModeRedirect {
		return in.checkProxyUID()
	}
	return nil
}

// checkAccount refuses a pod that has another account's client ID: one whose account
// was changed after an earlier pass, by a webhook or policy that comes later.
func (in *injection) checkAccount() *Denial {
	former, marked := in.pod.metadata.Annotations[contract.InjectedForAnnotation]
	if !marked || former == in.account.Name {
		return nil
	}
	injected := false
	in.pod.containers(func(_ string, _ int, c podContainer) { injected = injected || c.sets(contract.EnvClientID) })
	if !injected {
		return nil
	}
	return &Denial{ReasonOtherAccount, fmt.Sprintf(
		"%s was set for service account %s, but the pod runs as %s: whatever changes the account must run before workload identity is injected; "+
			"in a copied pod remove the variable and annotation %s",
		contract.EnvClientID, quote(former), quote(in.account.Name), contract.InjectedForAnnotation), Subject{Key: contract.InjectedForAnnotation}}
}

// A Quantity names the annotations for the proxy's request and limit of a resource.
type Quantity struct{ Resource, Request, Limit string }

// Quantities returns all of them.
func Quantities() []Quantity {
	return []Quantity{
		{"cpu", contract.ProxyCPURequestAnnotation, contract.ProxyCPULimitAnnotation},
		{"memory", contract.ProxyMemoryRequestAnnotation, contract.ProxyMemoryLimitAnnotation},
	}
}

// readQuantities checks the annotations for the requests and limits of the proxy.
func (in *injection) readQuantities() *Denial {
	annotations := in.pod.metadata.Annotations
	for _, q := range Quantities() {
		for _, key := range []string{q.Request, q.Limit} {
			value, ok := annotations[key]
			if _, valid := parseQuantity(value); ok && !valid {
				return &Denial{ReasonProxyResources, fmt.Sprintf(
					"annotation %s is %s: allowed is a quantity such as 100m or 64Mi", key, quote(value)), Subject{Key: key}}
			}
		}
	}
	for _, q := range Quantities() {
		request, requested := parseQuantity(annotations[q.Request])
		limit, limited := parseQuantity(annotations[q.Limit])
		if requested && limited && request.Cmp(limit) > 0 {
			return &Denial{ReasonProxyResources, fmt.Sprintf(
				"annotation %s is %s: allowed is at most the limit, which annotation %s sets to %s",
				q.Request, quote(annotations[q.Request]), q.Limit, quote(annotations[q.Limit])), Subject{Key: q.Request}}
		}
	}
	return nil
}

// QuantityPattern matches the quantities that the annotations for the proxy's
// requests and limits may have: Kubernetes' own, but for signs and exponents.
const QuantityPattern = "^[0-9]{1,12}([.][0-9]{1,9})?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"

// parseQuantity returns the value of a quantity that QuantityPattern matches.
func parseQuantity(s string) (*big.Rat, bool) {
	if ok, err := regexp.MatchString(QuantityPattern, s); !ok || err != nil {
		return nil, false
	}
	suffix := strings.TrimLeft(s, "0123456789.")
	value, ok := new(big.Rat).SetString(strings.TrimSuffix(s, suffix))
	if suffix == "m" {
		return value.Quo(value, big.NewRat(1000, 1)), ok
	}
	step := big.NewRat(1000, 1)
	if strings.HasSuffix(suffix, "i") {
		step = big.NewRat(1024, 1)
	}
	for range strings.Index("_kMGTPE", strings.Replace(strings.TrimSuffix(suffix, "i"), "K", "k", 1)) {
		value.Mul(value, step)
	}
	return value, ok
}

// readIdentities reads the lists that become the sidecar's arguments, and refuses
// those that would keep it from starting.
func (in *injection) readIdentities() *Denial {
	in.identities = list(in.pod.metadata.Annotations[contract.ProxyIdentitiesAnnotation])
	in.allowed = list(in.pod.metadata.Annotations[contract.ProxyAllowedClientIDsAnnotation])
	for _, pair := range in.identities {
		if _, _, err := identitymap.ParsePair(pair); err != nil {
			return &Denial{ReasonProxyIdentity, fmt.Sprintf(
				"annotation %s has %s: allowed are ID=CLIENT_ID or ID=CLIENT_ID@TENANT, separated by semicolons, each client ID a GUID",
				contract.ProxyIdentitiesAnnotation, quote(pair)), Subject{Key: contract.ProxyIdentitiesAnnotation}}
		}
	}
	if _, err := identitymap.Parse(in.identities); err != nil {
		// Each is well formed, so it is two of them that contradict each other.
		var id string
		if e, ok := errors.AsType[*identitymap.Error](err); ok {
			id, _, _ = strings.Cut(strings.ToLower(e.Pair), "=")
		}
		return &Denial{ReasonProxyIdentity, fmt.Sprintf(
			"annotation %s gives %s two client IDs or tenants: keep one of them",
			contract.ProxyIdentitiesAnnotation, quote(id)), Subject{Key: contract.ProxyIdentitiesAnnotation}}
	}
	for _, client := range in.allowed {
		if !guid.Valid(client) {
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
