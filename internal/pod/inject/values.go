package inject

import (
	"errors"
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/guid"
	"azwi/internal/token/identitymap"
)

// annotation is the pod's, or what holds for the whole cluster.
func (in *injection) annotation(key string) string {
	if value, ok := in.pod.metadata.Annotations[key]; ok {
		return value
	}
	return in.settings.Default(key)
}

// readValues reads the annotations that can be wrong enough to refuse the pod.
func (in *injection) readValues() *finding.Finding {
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
		return new(finding.HostNetwork())
	}
	if in.pod.onWindows() {
		return new(finding.ProxyWindows())
	}
	if in.settings.Proxy.Image == "" {
		return new(finding.ProxyImage())
	}
	if in.proxyMode != contract.ProxyModeRedirect && in.proxyMode != contract.ProxyModeEnv {
		return new(finding.ProxyMode(in.proxyMode))
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
func (in *injection) checkAccount() *finding.Finding {
	former, marked := in.pod.metadata.Annotations[contract.InjectedForAnnotation]
	if !marked || former == in.account.Name {
		return nil
	}
	injected := false
	in.pod.containers(func(_ string, _ int, c podContainer) { injected = injected || c.sets(contract.EnvClientID) })
	if !injected {
		return nil
	}
	return new(finding.OtherAccount(former, in.account.Name))
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
func (in *injection) readQuantities() *finding.Finding {
	annotations := in.pod.metadata.Annotations
	for _, q := range Quantities() {
		for _, key := range []string{q.Request, q.Limit} {
			value, ok := annotations[key]
			if _, valid := parseQuantity(value); ok && !valid {
				return new(finding.ProxyQuantity(key, value))
			}
		}
	}
	for _, q := range Quantities() {
		request, requested := parseQuantity(annotations[q.Request])
		limit, limited := parseQuantity(annotations[q.Limit])
		if requested && limited && request.Cmp(limit) > 0 {
			return new(finding.ProxyRequestAboveLimit(q.Request, annotations[q.Request], q.Limit, annotations[q.Limit]))
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
func (in *injection) readIdentities() *finding.Finding {
	in.identities = list(in.pod.metadata.Annotations[contract.ProxyIdentitiesAnnotation])
	in.allowed = list(in.pod.metadata.Annotations[contract.ProxyAllowedClientIDsAnnotation])
	for _, pair := range in.identities {
		if _, _, err := identitymap.ParsePair(pair); err != nil {
			return new(finding.ProxyIdentity(pair))
		}
	}
	if _, err := identitymap.Parse(in.identities); err != nil {
		// Each is well formed, so it is two of them that contradict each other.
		var id string
		if e, ok := errors.AsType[*identitymap.Error](err); ok {
			id, _, _ = strings.Cut(strings.ToLower(e.Pair), "=")
		}
		return new(finding.ProxyIdentityTwice(id))
	}
	for _, client := range in.allowed {
		if !guid.Valid(client) {
			return new(finding.ProxyAllowedClientID(client))
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

func (in *injection) readExpiration() *finding.Finding {
	in.expiration = contract.DefaultTokenExpiration
	account := ""
	value := in.pod.metadata.Annotations[contract.TokenExpirationAnnotation]
	if value == "" {
		account = in.account.Namespace + "/" + in.account.Name
		value = in.account.Annotations[contract.TokenExpirationAnnotation]
	}
	if value == "" {
		return nil
	}
	seconds, err := strconv.ParseInt(value, 10, 64)
	if err != nil || seconds < contract.MinTokenExpiration || seconds > contract.MaxTokenExpiration {
		return new(finding.TokenExpiration(account, value))
	}
	in.expiration = seconds
	return nil
}

func (in *injection) readProxyPort() *finding.Finding {
	in.proxyPort = contract.DefaultProxyPort
	value, ok := in.pod.metadata.Annotations[contract.ProxyPortAnnotation]
	if !ok {
		return nil
	}
	port, err := strconv.ParseInt(value, 10, 32)
	if err != nil || port < 1 || port > 65535 {
		return new(finding.ProxyPort(value))
	}
	in.proxyPort = port
	return nil
}

// checkProxyUID refuses containers that run as the proxy's user: their requests
// would pass by the redirect and reach the node's identity.
func (in *injection) checkProxyUID() *finding.Finding {
	var denial *finding.Finding
	in.pod.containers(func(_ string, _ int, c podContainer) {
		uid := c.SecurityContext.RunAsUser
		if uid == nil {
			uid = in.pod.spec.SecurityContext.RunAsUser
		}
		if denial == nil && uid != nil && *uid == contract.ProxyUID && c.Name != contract.ProxyContainer && c.Name != contract.ProxyInitContainer {
			denial = new(finding.ProxyUID(c.Name))
		}
	})
	return denial
}

// wantsProxy reads the annotation that asks for the proxy. Upstream injects
// whatever its value; values that are plainly no are obeyed here, and those that
// are neither yes nor no keep upstream's meaning.
func (p *Pod) wantsProxy() (bool, *finding.Finding) {
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
	return true, new(finding.ProxyNotBoolean(value))
}
