package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/pod/inject"
)

const (
	mostKeyWarnings = 8  // as inject has it
	mostWarnings    = 12 // a policy gives one warning for each of its validations
	shortestTypo    = 6  // as inject has it: shorter words are near too many others
	mostErrors      = 2  // as near has it, and less than the words of the prefix
)

// podWarnings is the policy whose binding warns of pods. It sees the pod as it was
// injected and needs no account: what is wrong with an account alone is told when
// the account is written, by accountWarnings, where its author sees it.
func (g *generator) podWarnings() (policySpec, error) {
	v := g.podVariables()
	v.add("podAnnotations", "object.metadata.?annotations.orValue({})")
	v.add("podLabels", "object.metadata.?labels.orValue({})")
	places, err := placesOf("pod")
	if err != nil {
		return policySpec{}, err
	}
	rest, err := g.otherWarnings()
	if err != nil {
		return policySpec{}, err
	}
	p := pods()
	p.MatchConditions = append(p.MatchConditions, namedExpression{"gives-cause", givesCause(places)})
	return g.warnings(p, v, places, rest)
}

func lacksClientID() string {
	return fmt.Sprintf("!c.?env.orValue([]).exists(e, e.name == %s)", quote(contract.EnvClientID))
}

// givesCause tells cheaply that there may be something to warn of, since most pods
// give no cause: an annotation of ours, a key like ours or a container without the
// client ID.
func givesCause(places []place) string {
	causes := []string{fmt.Sprintf("(%s).exists(c, %s || %s)", everyContainer, lacksClientID(), unlikelyClientIDs("c", "true")), mayBeVirtual()}
	for _, p := range places {
		cause := mayBeNear("k")
		if p.field == "labels" {
			cause = fmt.Sprintf("!(k in %s) && %s", names(p.Keys), cause)
		} else {
			cause = fmt.Sprintf("k != %s && %s", quote(contract.InjectedForAnnotation), cause)
		}
		causes = append(causes, fmt.Sprintf("object.metadata.?%s.orValue({}).exists(k, %s)", p.field, cause))
	}
	return strings.Join(causes, " ||\n")
}

// unlikelyClientIDs tells whether container c sets a client ID that is not a GUID; but
// for an empty one, only if it is certain to be the author's.
func unlikelyClientIDs(c, certain string) string { return ownClientIDs(c, certain) + ".size() > 0" }

// ownClientIDs are the variables of container c that set a client ID which can't be
// one. One that refers to another variable is not followed.
func ownClientIDs(c, certain string) string {
	return fmt.Sprintf(`%[1]s.?env.orValue([]).filter(e, e.name == %[2]s && !has(e.valueFrom)).map(e, string(e.?value.orValue("")))
.filter(id, !id.contains("$(") && !id.matches(%[3]s) && (id == "" || %[4]s))`, c, quote(contract.EnvClientID), quote("^"+guid+"$"), certain)
}

// mayBeVirtual tells whether the pod asks for virtual nodes.
func mayBeVirtual() string {
	return `object.spec.?nodeSelector[?"type"].orValue("") == "virtual-kubelet" ||
object.spec.?tolerations.orValue([]).exists(t, t.?key.orValue("") in ["virtual-kubelet.io/provider", "azure.com/aci"])`
}

// mayBeNear tells cheaply that a key's prefix may be near ours: it is long enough, and
// as a typing error hits at most two places, one of the words is whole.
func mayBeNear(key string) string {
	words := strings.FieldsFunc(contract.Prefix, func(r rune) bool { return r == '.' || r == '/' })
	return fmt.Sprintf(`%s.indexOf("/") >= %d && %s.matches(%s)`, key, len(lettersOf(contract.Prefix))-mostErrors, letters(key), quote(strings.Join(words, "|")))
}

// accountWarnings is the policy whose binding warns of service accounts.
func (g *generator) accountWarnings() (policySpec, error) {
	var v variables
	v.add("accountLabels", "object.metadata.?labels.orValue({})")
	v.add("accountAnnotations", "object.metadata.?annotations.orValue({})")
	v.add("clientID", `variables.accountAnnotations[?%s].orValue("")`, quote(contract.ClientIDAnnotation))
	v.add("isOurs", "variables.accountLabels.exists(k, k.startsWith(%[1]s)) || variables.accountAnnotations.exists(k, k.startsWith(%[1]s))", quote(contract.Prefix))
	places, err := placesOf("service account")
	if err != nil {
		return policySpec{}, err
	}
	notGUID, err := g.sampler.warning(finding.CodeClientIDNotGUID, samplePod{account: map[string]string{contract.ClientIDAnnotation: holeValue}})
	if err != nil {
		return policySpec{}, err
	}
	h := holes{holeNamespace: "object.metadata.namespace", holeAccount: "object.metadata.name", quote(holeValue): quoted("variables.clientID")}
	return g.warnings(accounts(), v, places, []string{
		fmt.Sprintf(`[%s].filter(text, variables.clientID != "" && !variables.clientID.matches(%s))`, h.fill(notGUID), quote("^"+guid+"$")),
	})
}

// warnings completes a policy that warns of keys in the given places, and of the rest.
func (g *generator) warnings(p policySpec, v variables, places []place, rest []string) (policySpec, error) {
	v.add("knownKeys", "%s", knownKeys(inject.Places()))
	v.add("strangeKeys", "%s", strangeKeys(places))
	keys, err := g.keyWarnings()
	if err != nil {
		return policySpec{}, err
	}
	v.add("allKeyWarnings", "%s", keys)
	v.add("keyWarnings", "variables.allKeyWarnings.slice(0, size(variables.allKeyWarnings) < %d ? size(variables.allKeyWarnings) : %[1]d)", mostKeyWarnings)
	v.add("warnings", "%s", strings.Join(append([]string{"variables.keyWarnings"}, rest...), " +\n"))

	p.FailurePolicy = "Ignore" // what cannot be told stops nothing
	p.Variables = v
	for i := range mostWarnings {
		p.Validations = append(p.Validations, validation{
			Expression:        fmt.Sprintf("size(variables.warnings) <= %d", i),
			MessageExpression: fmt.Sprintf(`size(variables.warnings) > %d ? variables.warnings[%[1]d] : ""`, i),
			Reason:            "Invalid",
		})
	}
	return p, nil
}

// A place is where inject reads keys from, the variable that holds them, and the
// field of the metadata.
type place struct {
	inject.Place
	variable, field string
}

// placesOf are the labels and annotations of the pod or service account.
func placesOf(object string) ([]place, error) {
	variables := map[string]string{
		"label of the pod": "podLabels", "annotation of the pod": "podAnnotations",
		"label of the service account": "accountLabels", "annotation of the service account": "accountAnnotations",
	}
	var found []place
	for _, p := range inject.Places() {
		if variables[p.Name] == "" {
			return nil, fmt.Errorf("%q is no place that this generator knows", p.Name)
		}
		if strings.HasSuffix(p.Name, " of the "+object) {
			found = append(found, place{p, variables[p.Name], strings.Fields(p.Name)[0] + "s"})
		}
	}
	return found, nil
}

// letters is s in lower case without anything but letters and digits; keys hold no
// other characters than those replaced.
func letters(s string) string {
	return s + `.lowerAscii().replace("-", "").replace("_", "").replace(".", "").replace("/", "")`
}

func lettersOf(s string) string {
	return strings.NewReplacer("-", "", "_", "", ".", "", "/", "").Replace(strings.ToLower(s))
}

// knownKeys are all keys that are read somewhere, in the order in which near misses
// are looked for.
func knownKeys(places []inject.Place) string {
	var entries, seen []string
	for _, p := range places {
		for _, key := range p.Keys {
			if slices.Contains(seen, key) {
				continue
			}
			seen = append(seen, key)
			var at []string
			for _, q := range places {
				if slices.Contains(q.Keys, key) {
					at = append(at, q.Name)
				}
			}
			bare := key == contract.ClientIDAnnotation || key == contract.TenantIDAnnotation
			entries = append(entries, fmt.Sprintf(`{"key": dyn(%s), "letters": dyn(%s), "bare": dyn(%t), "places": dyn(%s)}`,
				quote(key), quote(lettersOf(strings.TrimPrefix(key, contract.Prefix))), bare, names(at)))
		}
	}
	return "[\n" + indent(strings.Join(entries, ",\n")) + "\n]"
}

// strangeKeys are the keys that look like ours but are not read where they are. Keys
// without prefix count on accounts that have one of ours: elsewhere they may be
// another system's.
func strangeKeys(places []place) string {
	parts := make([]string, len(places))
	for i, p := range places {
		bare := "false"
		if p.Bare {
			bare = "variables.isOurs && " + letters("k") + " in " + names([]string{"clientid", "tenantid"})
		}
		parts[i] = fmt.Sprintf(`variables.%s.map(k, string(k))
.filter(k, !(k in %s) && !k.startsWith(%s) && (k.contains("/") ? [%s].exists(p, %s) : %s))
.sort().map(k, {"home": %s, "key": k, "letters": %s})`,
			p.variable, names(p.Keys), quote(contract.CustomTokenEndpointPrefix),
			letters(`k.split("/")[0]`), near("p", quote(lettersOf(contract.Prefix))), bare,
			quote(p.Name), letters(`k.substring(k.indexOf("/") + 1)`))
	}
	return strings.Join(parts, " +\n")
}

// near reports whether at most two letters have to be added, dropped or changed to
// make b of a. The longest common prefix never needs a change (Levenshtein).
func near(a, b string) string {
	step := func(s, i string) string {
		return fmt.Sprintf("%[1]s.substring(%[2]s < size(%[1]s) ? %[2]s + 1 : %[2]s)", s, i)
	}
	rest := func(s, i string) string { return fmt.Sprintf("%s.substring(%s)", s, i) }
	common := func(a, b string) string {
		return fmt.Sprintf("size(lists.range(size(%[1]s) < size(%[2]s) ? size(%[1]s) : size(%[2]s)).filter(n, %[1]s.substring(0, n + 1) == %[2]s.substring(0, n + 1)))", a, b)
	}
	one := fmt.Sprintf("[%s].exists(j, %s == %s || %s == %s || %s == %s)", common("r[0]", "r[1]"),
		step("r[0]", "j"), step("r[1]", "j"), step("r[0]", "j"), rest("r[1]", "j"), rest("r[0]", "j"), step("r[1]", "j"))
	return fmt.Sprintf(`size(%[1]s) <= size(%[2]s) + 2 && size(%[2]s) <= size(%[1]s) + 2 && [%[3]s].exists(i,
  [[%[4]s, %[5]s], [%[4]s, %[6]s], [%[7]s, %[5]s]]
  .exists(r, %[8]s))`, a, b, common(a, b), step(a, "i"), step(b, "i"), rest(b, "i"), rest(a, "i"), one)
}

// keyWarnings are the texts for the strange keys.
func (g *generator) keyWarnings() (string, error) {
	const misspelt = contract.Prefix + "skip_containers"
	nearMiss, err := g.sampler.warning(finding.CodeNearMissKey, samplePod{account: map[string]string{misspelt: "x"}})
	if err != nil {
		return "", err
	}
	misplaced, err := g.sampler.warning(finding.CodeMisplacedKey, samplePod{account: map[string]string{contract.SkipContainersAnnotation: "x"}})
	if err != nil {
		return "", err
	}
	h := holes{
		"annotation of the service account":      "c.home",
		"annotation of the pod":                  "(c.home in k.places ? c.home : k.places[0])",
		contract.SkipContainersAnnotation:        "k.key",
		quote(misspelt):                          quoted("c.key"),
		quote(contract.SkipContainersAnnotation): quoted("c.key"),
	}
	return fmt.Sprintf(`variables.strangeKeys.map(c, variables.knownKeys
  .filter(k, c.letters == k.letters && (c.key.contains("/") || k.bare) ||
    c.key.contains("/") && size(k.letters) >= %d && %s)
  .map(k, c.key != k.key ?
%s :
    k.key != %s ?
%s :
    ""))
.filter(texts, size(texts) > 0 && texts[0] != "")
.map(texts, texts[0])`,
		shortestTypo, near("c.letters", "k.letters"), indent(indent(indent(h.fill(nearMiss)))), quote(contract.UseLabel), indent(indent(indent(h.fill(misplaced))))), nil
}

// otherWarnings are lists of texts, in inject's order.
func (g *generator) otherWarnings() ([]string, error) {
	missing, err := g.sampler.warning(finding.CodeClientIDMissing, samplePod{})
	if err != nil {
		return nil, err
	}
	own, err := g.sampler.warning(finding.CodeOwnClientID, samplePod{spec: map[string]any{"containers": []any{map[string]any{
		"name": holeName, "env": []any{map[string]any{"name": contract.EnvClientID, "value": holeValue}},
	}}}})
	if err != nil {
		return nil, err
	}
	virtual, err := g.sampler.warning(finding.CodeVirtualNode, samplePod{spec: map[string]any{"nodeSelector": map[string]any{"type": "virtual-kubelet"}}})
	if err != nil {
		return nil, err
	}
	unknown, err := g.sampler.warning(finding.CodeSkipUnknown, samplePod{annotations: map[string]string{contract.SkipContainersAnnotation: holeValue}})
	if err != nil {
		return nil, err
	}
	ours := names([]string{contract.ProxyContainer, contract.ProxyInitContainer})
	warnings := []string{
		// After injection, what still lacks the variable has an account without one.
		fmt.Sprintf(`[%s].filter(text, variables.everyContainer.exists(c, %s && c.name != %s && %s))`,
			podAccount().fill(missing), isTarget(), quote(contract.ProxyContainer), lacksClientID()),
		// What was injected, which the mark tells of, may be no GUID either: then
		// the account is warned of. A container with a GUID shows that it is not so.
		fmt.Sprintf(`variables.everyContainer.filter(c, %s && c.name != %s).map(c,
  [%s].filter(ids, size(ids) > 0).map(ids, %s)).flatten()`,
			isTarget(), quote(contract.ProxyContainer),
			ownClientIDs("c", fmt.Sprintf("!%s.hasValue() || variables.everyContainer.exists(o, o.?env.orValue([]).exists(e, e.name == %s && e.?value.orValue(\"\").matches(%s)))",
				marked(), quote(contract.EnvClientID), quote("^"+guid+"$"))),
			holes{quote(holeName): quoted("c.name"), quote(holeValue): quoted("ids[0]")}.fill(own)),
		fmt.Sprintf(`variables.skipped.distinct().sort().filter(n, !variables.everyContainer.exists(c, c.name == n) && !(n in %s)).map(n,
  %s)`, ours, holes{quote(holeValue): quoted("n")}.fill(unknown)),
		fmt.Sprintf("[%s].filter(text, %s)", quote(virtual), mayBeVirtual()),
	}
	if !g.hasProxy() {
		return warnings, nil
	}
	proxy, err := g.proxyWarnings()
	if err != nil {
		return nil, err
	}
	notBoolean, err := g.sampler.warning(finding.CodeProxyNotBoolean, samplePod{annotations: map[string]string{contract.InjectProxyAnnotation: holeValue}})
	if err != nil {
		return nil, err
	}
	value := annotation(contract.InjectProxyAnnotation) + `.orValue("")`
	return append(append(warnings, proxy...), fmt.Sprintf(`(variables.wantsProxy && !(%s.trim().lowerAscii() in ["true", "t", "1", "yes", "y", "on"]) ?
  [%s] : [])`, value, holes{quote(holeValue): quoted("string(" + value + ")")}.fill(notBoolean))), nil
}

// sidecarWarnings tell of what the sidecar does to the pod.
func (g *generator) sidecarWarnings() ([]string, error) {
	annotations := map[string]string{contract.InjectProxyAnnotation: "true"}
	taken, err := g.sampler.warning(finding.CodePortTaken, samplePod{annotations: annotations, spec: map[string]any{"containers": []any{map[string]any{
		"name": holeValue, "ports": []any{map[string]any{"containerPort": contract.DefaultProxyPort}},
	}}}})
	if err != nil {
		return nil, err
	}
	warnings := []string{fmt.Sprintf(`(variables.wantsProxy ? [%s].map(port, variables.everyContainer.filter(c, c.name != %s &&
  c.?ports.orValue([]).exists(p, p.containerPort == port && p.?protocol.orValue("TCP") == "TCP")).map(c,
  %s))[0] : [])`, proxyPort(), quote(contract.ProxyContainer),
		holes{quote(holeValue): quoted("c.name"), strconv.Itoa(contract.DefaultProxyPort): "string(port)"}.fill(taken))}
	if g.config.Settings.Proxy.NativeSidecar {
		return warnings, nil
	}
	never, err := g.sampler.warning(finding.CodeNeverCompletes, samplePod{annotations: annotations, spec: map[string]any{"restartPolicy": "Never"}})
	if err != nil {
		return nil, err
	}
	const policy = `object.spec.?restartPolicy.orValue("")`
	return append(warnings, fmt.Sprintf(`[%s].filter(text, variables.wantsProxy && %s in ["Never", "OnFailure"])`,
		holes{quote("Never"): quoted(policy)}.fill(never), policy)), nil
}

// proxyWarnings tell of what keeps a container's requests from the proxy.
func (g *generator) proxyWarnings() ([]string, error) {
	proxy := g.config.Settings.Proxy
	warnings, err := g.sidecarWarnings()
	if err != nil {
		return nil, err
	}
	if proxy.InitImage != "" && proxy.InitImage != proxy.Image {
		text, err := g.sampler.warning(finding.CodeUpstreamImages, samplePod{annotations: map[string]string{
			contract.InjectProxyAnnotation: "true", contract.ProxyModeAnnotation: contract.ProxyModeRedirect,
		}})
		if err != nil {
			return nil, err
		}
		warnings = append(warnings, fmt.Sprintf(`[%s].filter(text, variables.proxyMode == %s &&
  %s.exists(c, c.name == %s && c.image == %s))`, quote(text), quote(contract.ProxyModeRedirect), initContainers, quote(contract.ProxyInitContainer), quote(proxy.InitImage)))
	}
	container := func(reason finding.Code, env string) (string, error) {
		text, err := g.sampler.warning(reason, samplePod{
			annotations: map[string]string{contract.InjectProxyAnnotation: "true", contract.ProxyModeAnnotation: contract.ProxyModeEnv},
			spec: map[string]any{"containers": []any{map[string]any{
				"name": holeValue, "env": []any{map[string]any{"name": env, "value": "x"}},
			}}},
		})
		return holes{quote(holeValue): quoted("c.name")}.fill(text), err
	}
	own, err := container(finding.CodeOwnEndpoint, contract.EnvIdentityEndpoint)
	if err != nil {
		return nil, err
	}
	detour, err := container(finding.CodeHTTPProxy, "HTTP_PROXY")
	if err != nil {
		return nil, err
	}
	endpoint := slices.DeleteFunc(envNames(g.endpointEnv()), func(n string) bool { return n == contract.EnvPodUID })
	return append(warnings, fmt.Sprintf(`(variables.proxyMode == %s ? variables.everyContainer
  .filter(c, !(c.name in variables.skipped) && c.name != %s)
  .map(c, {"name": dyn(c.name), "env": dyn(c.?env.orValue([]))})
  .map(c,
    [%s].filter(text, c.env.exists(e, e.name in %s) &&
      !c.env.exists(e, e.name == %s && e.?value.orValue("") == %s)) +
    [%s].filter(text, c.env.exists(e, e.name.upperAscii() == "HTTP_PROXY" && e.?value.orValue("") != "") &&
      !c.env.exists(e, e.name.upperAscii() == "NO_PROXY" && (e.?value.orValue("").contains("127.0.0.1") || e.?value.orValue("") == "*"))))
  .flatten() : [])`, quote(contract.ProxyModeEnv), quote(contract.ProxyContainer),
		own, names(endpoint), quote(contract.EnvIdentityHeader), quote("$("+contract.EnvPodUID+")"), detour)), nil
}
