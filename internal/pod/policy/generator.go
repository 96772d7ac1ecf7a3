package policy

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/pod/inject"
	"azwi/internal/token/identitymap"
)

// generator holds the settings and what inject does with the samples.
type generator struct {
	config  Config
	sampler sampler
	plain   added // without proxy
	custom  added // with the custom token endpoint, if there is one
	proxy   map[string]added

	// The reserved volume of a layout that has none, as a pod that mounts it gets it,
	// without and with the custom token endpoint; nil where the layout has it.
	reserved, reservedCustom any
}

func newGenerator(c Config) (*generator, error) {
	if c.Version == "" {
		return nil, errors.New("the version is required")
	}
	g := &generator{config: c, proxy: map[string]added{}}
	var err error
	if g.sampler, err = newSampler(c.Settings); err != nil {
		return nil, err
	}
	if g.plain, err = g.sampler.add(nil, nil); err != nil {
		return nil, err
	}
	if g.hasCustom() {
		if g.custom, err = g.sampler.add(map[string]string{c.Settings.CustomTokenEndpoint.Annotation: "true"}, nil); err != nil {
			return nil, err
		}
		if !startsWith(g.custom.env, g.plain.env) {
			return nil, errors.New("the custom token endpoint changes the environment instead of adding to it")
		}
	}
	if err := g.addReserved(); err != nil {
		return nil, err
	}
	if !g.hasProxy() {
		return g, nil
	}
	proxied := func(mode string, spec map[string]any) (added, error) {
		return g.sampler.add(map[string]string{
			contract.InjectProxyAnnotation: "true", contract.ProxyModeAnnotation: mode, contract.ProxyCAAnnotation: holeCA,
		}, spec)
	}
	for _, mode := range []string{contract.ProxyModeRedirect, contract.ProxyModeEnv} {
		if g.proxy[mode], err = proxied(mode, nil); err != nil {
			return nil, err
		}
	}
	root, err := proxied(contract.ProxyModeEnv, map[string]any{"securityContext": map[string]any{"runAsUser": 0}})
	if err != nil {
		return nil, err
	}
	if !reflect.DeepEqual(securityOf(root), securityOf(g.proxy[contract.ProxyModeRedirect])) {
		return nil, errors.New("the sidecar of a pod of root's is not secured as in redirect mode")
	}
	if !startsWith(g.proxy[contract.ProxyModeEnv].env, g.plain.env) {
		return nil, errors.New("env mode changes the environment instead of adding to it")
	}
	return g, nil
}

// securityOf is the security context of the sidecar.
func securityOf(a added) any {
	sidecar, _ := a.containers[contract.ProxyContainer].(map[string]any)
	return sidecar["securityContext"]
}

func startsWith(list, prefix []any) bool {
	return len(list) >= len(prefix) && reflect.DeepEqual(list[:len(prefix)], prefix)
}

func (g *generator) hasCustom() bool { return g.config.Settings.CustomTokenEndpoint.Annotation != "" }
func (g *generator) hasProxy() bool  { return g.config.Settings.Proxy.Image != "" }

func (g *generator) usesLegacy() bool {
	_, ok := g.plain.volumes[contract.LegacyVolume]
	return ok
}

// reservedAlways and reservedForCustom report whether pods get the volume of the
// v1.6.0 layout: all of them, or those with the custom token endpoint.
func (g *generator) reservedAlways() bool { return has(g.plain.volumes, contract.TokenVolume) }
func (g *generator) reservedForCustom() bool {
	return g.hasCustom() && has(g.custom.volumes, contract.TokenVolume)
}

func has(m map[string]any, key string) bool { _, ok := m[key]; return ok }

// holes are the pod's own values in what the samples get.
func (g *generator) holes() holes {
	return holes{
		holeClient: expr(ofAccount(contract.ClientIDAnnotation)), holeTenant: expr(g.tenantID()), holeCA: "variables.proxyCA",
		sampleSeconds: "variables.expiration", samplePort: "string(variables.proxyPort)",
	}
}

// integer is the port as a number, where holes has it as text.
func (h holes) integer() holes {
	h = maps.Clone(h)
	h[samplePort] = "variables.proxyPort"
	return h
}

// variables collects the expressions of a policy, in order.
type variables []namedExpression

func (v *variables) add(name, format string, args ...any) {
	*v = append(*v, namedExpression{name, fmt.Sprintf(format, args...)})
}

// annotation reads one of the pod's annotations, as an optional value.
func annotation(key string) string { return "object.metadata.?annotations[?" + quote(key) + "]" }

// orDefault reads one of the pod's annotations, or what holds for the whole cluster.
func (g *generator) orDefault(key string) string {
	return fmt.Sprintf("string(%s.orValue(%s))", annotation(key), quote(g.config.Settings.Default(key)))
}

// ofAccount reads one of the account's annotations.
func ofAccount(key string) string {
	return `string(params.metadata.?annotations[?` + quote(key) + `].orValue(""))`
}

// tenantID is the account's, or that of the settings.
func (g *generator) tenantID() string {
	account := ofAccount(contract.TenantIDAnnotation)
	return "(" + account + ` != "" ? ` + account + " : " + quote(g.config.Settings.TenantID) + ")"
}

// items splits at semicolons, without blanks around items and without empty ones.
func items(key string) string {
	return annotation(key) + `.orValue("").split(";").map(s, s.trim()).filter(s, s != "")`
}

// number matches what strconv.ParseInt takes and is not certainly out of range.
const number = `"^[+]?0*[0-9]{1,5}$"`

// quoted shows a value that somebody else chose as inject's quote does, but for the
// form of what is not printable ASCII: the bytes in hexadecimal.
func quoted(value string) expr {
	return expr(fmt.Sprintf(`[string(%s)].map(q, strings.quote(size(q) > 64 ? q.substring(0, 64) + "..." : q))
.map(q, q.matches(%s) ? q : q.split("").map(r, r.matches("^[ -~]$") ? r : "\\x" + "%%x".format([r])).join(""))[0]`, value, quote("^"+printable+"$")))
}

// printable matches text without anything that a terminal acts on.
const printable = "[ -~]*"

// isSet tells whether container c sets a variable.
func isSet(name string) string {
	return fmt.Sprintf("c.?env.orValue([]).exists(e, e.name == %s)", quote(name))
}

// accountName is the pod's service account.
const accountName = `object.spec.?serviceAccountName.orValue("default")`

// marked is the account that the pod was injected for, as an optional value.
func marked() string { return annotation(contract.InjectedForAnnotation) }

// podVariables are those that need nothing but the pod: what its annotations say
// and its containers. The API server prepares all variables of a policy for each
// account, whether they are used or not, so what is short or used once is none.
func (g *generator) podVariables() variables {
	var v variables
	v.add("skipped", "%s.hasValue() ? %s : []", annotation(contract.SkipContainersAnnotation), items(contract.SkipContainersAnnotation))
	v.add("wantsProxy", `%[1]s.hasValue() &&
  !(%[1]s.orValue("").trim().lowerAscii() in ["false", "f", "0", "no", "n", "off"])`, annotation(contract.InjectProxyAnnotation))
	v.add("proxyMode", `variables.wantsProxy ? %s : ""`, g.orDefault(contract.ProxyModeAnnotation))
	if g.hasCustom() {
		v.add("customEndpoint", `%s.orValue("").lowerAscii() == "true"`, annotation(g.config.Settings.CustomTokenEndpoint.Annotation))
	}
	v.add("everyContainer", "%s", everyContainer)
	return v
}

// podAccount names the pod's service account in texts.
func podAccount() holes {
	return holes{holeNamespace: "object.metadata.namespace", holeAccount: accountName}
}

// The pod's lists, for expressions where there are no variables, too.
const (
	volumes        = "object.spec.?volumes.orValue([])"
	initContainers = "object.spec.?initContainers.orValue([])"
	// Null in a pod without any, which the API server refuses once admission is through.
	containers     = "(object.spec.containers == null ? [] : object.spec.containers)"
	everyContainer = initContainers + " + " + containers
)

// hasContainer tells whether the pod has one of that name.
func hasContainer(name string) string {
	return "variables.everyContainer.exists(c, c.name == " + quote(name) + ")"
}

// isTarget tells whether container c is one to complete.
func isTarget() string {
	return fmt.Sprintf("c.name != %s && !(c.name in variables.skipped)", quote(contract.ProxyInitContainer))
}

func isReserved(name string) string {
	return name + ".startsWith(" + quote(contract.VolumePrefix) + ")"
}

// holdsToken tells the token's volume, ours or upstream's, from our other ones.
func holdsToken(name string) string {
	return isReserved(name) + " && !(" + name + " in " + names([]string{contract.EmptyVolume, contract.ProxyCAVolume}) + ")"
}

// mountsOf are those of container c.
const mountsOf = "c.?volumeMounts.orValue([])"

// isAt tells whether a mount is at the path, however that is written. Few mounts
// come as far as having it cleaned.
func isAt(mount, at, more string) string {
	if more != "" {
		more = " || " + more
	}
	return fmt.Sprintf("%[1]s.mountPath == %[2]s || %[1]s.mountPath.contains(%[3]s) && (%[4]s == %[2]s%[5]s)",
		mount, quote(at), quote(path.Base(path.Dir(at))), cleaned(mount+".mountPath"), more)
}

// isToken tells whether a mount is where the token is looked for: at our path, whoever
// mounted what there, or the token's volume below it.
func isToken(mount string) string {
	return isAt(mount, contract.MountPath, fmt.Sprintf("%s && %s.startsWith(%s)",
		holdsToken(mount+".name"), cleaned(mount+".mountPath"), quote(contract.MountPath+"/")))
}

func isLegacy(mount string) string { return isAt(mount, contract.LegacyMountPath, "") }

// cleaned is path.Clean, but for "..".
func cleaned(path string) string {
	return fmt.Sprintf(`((%[1]s.startsWith("/") ? "/" : "") + %[1]s.split("/").filter(s, !(s in ["", "."])).join("/"))`, path)
}

// mutating is the policy that injects.
func (g *generator) mutating() (policySpec, error) {
	v := g.podVariables()
	v.add("expirationText", `%[1]s.orValue("") != "" ? string(%[1]s.orValue("")) : %[2]s`,
		annotation(contract.TokenExpirationAnnotation), ofAccount(contract.TokenExpirationAnnotation))
	v.add("expiration", `variables.expirationText.matches(%s) ? int(variables.expirationText) : %d`, number, contract.DefaultTokenExpiration)
	if g.hasProxy() {
		g.proxyVariables(&v)
	}
	denial, _, err := g.denial()
	if err != nil {
		return policySpec{}, err
	}
	v.add("refusal", "%s", denial)
	v.add("env", "%s", g.env())
	v.add("reservedNames", "%s.filter(v, %s).map(v, v.name)", volumes, isReserved("v.name"))
	v.add("tokenVolume", `size(variables.reservedNames) == 0 || %[1]s in variables.reservedNames ? %[1]s :
(variables.reservedNames.filter(n, %[2]s) + [%[1]s])[0]`, quote(contract.TokenVolume), holdsToken("n"))
	v.add("ourVolumes", `(variables.reservedNames + %s).distinct().map(n,
%s)`, g.wantedVolumes(), indent(g.volume()))
	ops := []string{g.completions("initContainers", initContainers), g.completions("containers", containers), volumeOps()}
	if g.hasProxy() {
		ops = append(ops, g.proxyOps(&v))
	}
	ops = append(ops, markOps())
	p := pods().withAccount(g.complete())
	p.ReinvocationPolicy = "IfNeeded"
	p.Variables = v
	p.Mutations = []mutation{{"JSONPatch", jsonPatch{fmt.Sprintf("variables.refusal != \"\" ?\n%s :\n%s", indent(refuse()), strings.Join(ops, " +\n"))}}}
	return p, nil
}

// complete tells that a pod lacks nothing, so that the second pass, which every
// changed pod goes through, costs little. It may miss pods that are complete, never
// the reverse: those with an annotation of ours or with other volumes of ours are
// looked at in full. It is part of a match condition, which has no variables.
func (g *generator) complete() string {
	reserved := fmt.Sprintf("%s.filter(v, %s)", volumes, isReserved("v.name"))
	checks := []string{"size(" + reserved + ") == 0"}
	mounts := fmt.Sprintf("%s.all(m, !%s)", mountsOf, isReserved("m.name"))
	if g.reservedAlways() {
		checks[0] = reserved + " == " + literal([]any{g.plain.volumes[contract.TokenVolume]}, holes{sampleSeconds: expr(strconv.FormatInt(contract.DefaultTokenExpiration, 10))})
		mounts = fmt.Sprintf("%[1]s.exists(m, m.mountPath == %[2]s) && %[1]s.all(m, m.name == %[3]s || !%[4]s)",
			mountsOf, quote(contract.MountPath), quote(contract.TokenVolume), isReserved("m.name"))
	}
	if g.usesLegacy() {
		checks = append(checks, fmt.Sprintf("object.spec.volumes.exists(v, v.name == %s)", quote(contract.LegacyVolume)))
		mounts += fmt.Sprintf(" && %s.exists(m, m.mountPath == %s)", mountsOf, quote(contract.LegacyMountPath))
	}
	checks = append(checks,
		fmt.Sprintf("!object.metadata.?annotations.orValue({}).exists(k, k != %s && k.startsWith(%s))", quote(contract.InjectedForAnnotation), quote(contract.Prefix)),
		fmt.Sprintf(`%s == ""`, ofAccount(contract.TokenExpirationAnnotation)))
	if g.config.Settings.TenantID == "" {
		checks = append(checks, fmt.Sprintf(`%s == ""`, ofAccount(contract.TenantIDAnnotation)))
	}
	checks = append(checks, fmt.Sprintf(`(`+everyContainer+`).all(c,
  sets.contains(c.?env.orValue([]).map(e, e.name), %s + (%s == "" ? [] : [%s])) &&
  %s)`, names(g.requiredEnv()), ofAccount(contract.ClientIDAnnotation), quote(contract.EnvClientID), mounts))
	return strings.Join(checks, " &&\n")
}

// refuse leaves the reason in the pod for the validating policy, which denies it:
// so the account is read once, and a pod is denied for what was seen then.
func refuse() string { return annotate(contract.RefusedAnnotation, "variables.refusal") }

func annotate(key, value string) string {
	return fmt.Sprintf(`(object.metadata.?annotations.hasValue() ?
  [JSONPatch{op: "add", path: "/metadata/annotations/" + jsonpatch.escapeKey(%[1]s), value: %[2]s}] :
  [JSONPatch{op: "add", path: "/metadata/annotations", value: {%[1]s: %[2]s}}])`, quote(key), value)
}

// markOps note whose client ID the pod is given, unless it has another account's,
// which the validating policy denies.
func markOps() string {
	return fmt.Sprintf("(%s != \"\" &&\n(variables.everyContainer.exists(c, %s && !%s) || %s) &&\n!(%s.hasValue() && variables.everyContainer.exists(c, %s)) ?\n%s : [])",
		ofAccount(contract.ClientIDAnnotation), isTarget(), isSet(contract.EnvClientID), addsSidecar(),
		marked(), isSet(contract.EnvClientID), indent(annotate(contract.InjectedForAnnotation, "string(params.metadata.name)")))
}

// proxyOps put the proxy's containers into the pod: before all others, or the sidecar
// before the containers and the other one behind the init containers.
func (g *generator) proxyOps(v *variables) string {
	redirect, env := g.proxy[contract.ProxyModeRedirect].containers, g.proxy[contract.ProxyModeEnv].containers
	init := maps.Clone(redirect[contract.ProxyInitContainer].(map[string]any))
	init["resources"] = resourcesOf(init)
	proxyInit := fmt.Sprintf("(%s ?\n[%s] : [])", addsInit(), literal(init, g.holes()))
	sidecar := fmt.Sprintf("(%s ?\n[%s] : [])", addsSidecar(), g.sidecar(redirect[contract.ProxyContainer], env[contract.ProxyContainer]))
	at := func(list, index, containers string) string {
		return fmt.Sprintf(`%s.transformList(i, c, JSONPatch{op: "add", path: "/spec/%s/%s, value: c})`, containers, list, index)
	}
	ensured := fmt.Sprintf(`(size(%s) > 0 ? [] : [JSONPatch{op: "add", path: "/spec/initContainers", value: []}])`, initContainers)
	if g.config.Settings.Proxy.NativeSidecar {
		v.add("proxyContainers", "%s +\n%s", proxyInit, sidecar)
		return fmt.Sprintf("(!variables.wantsProxy || size(variables.proxyContainers) == 0 ? [] : %s +\n%s)",
			ensured, at("initContainers", `" + string(i)`, "variables.proxyContainers"))
	}
	v.add("proxyInit", "%s", proxyInit)
	return fmt.Sprintf("(!variables.wantsProxy ? [] :\n(size(variables.proxyInit) == 0 ? [] : %s) +\n%s +\n%s)",
		ensured, at("initContainers", `-"`, "variables.proxyInit"), at("containers", `" + string(i)`, sidecar))
}

func addsInit() string {
	return fmt.Sprintf("variables.proxyMode == %s && !%s", quote(contract.ProxyModeRedirect), hasContainer(contract.ProxyInitContainer))
}

func addsSidecar() string { return "variables.wantsProxy && !" + hasContainer(contract.ProxyContainer) }

// volumeOps bring our volumes to what they should be and add those that are missing.
func volumeOps() string {
	return fmt.Sprintf(`(size(variables.reservedNames) == 0 ? [] :
  %[1]s.transformList(i, v, %[2]s,
    JSONPatch{op: "replace", path: "/spec/volumes/" + string(i), value: variables.ourVolumes.filter(o, o.name == v.name)[0]})) +
(size(%[1]s) > 0 ? [] : [JSONPatch{op: "add", path: "/spec/volumes", value: []}]) +
variables.ourVolumes.filter(o, !%[1]s.exists(v, v.name == o.name)).map(o, JSONPatch{op: "add", path: "/spec/volumes/-", value: o})`,
		volumes, isReserved("v.name"))
}

// completions add to the containers of a list what they lack.
func (g *generator) completions(list, containers string) string {
	at := func(field string) string { return `"/spec/` + list + `/" + string(i) + "/` + field + `"` }
	add := func(condition, mount string) string {
		return fmt.Sprintf(` +
    (%s ? [JSONPatch{op: "add", path: %s, value: %s}] : [])`, condition, at("volumeMounts/-"), mount)
	}
	var mounts string
	g.mounts("size(tokenAt) == 0", "!"+mountsOf+".exists(m, "+isLegacy("m")+")", func(condition, mount string) { mounts += add(condition, mount) })
	return fmt.Sprintf(`%s.transformList(i, c, %s,
  [%s.filter(m, %s).map(m, %s)].map(tokenAt,
    (has(c.env) ?
      [c.env.map(e, e.name)].map(names, [%s].map(missing, %s ?
        missing.transformList(j, e, JSONPatch{op: "add", path: %s + string(j), value: e}) :
        missing.map(e, JSONPatch{op: "add", path: %s, value: e}))[0])[0] :
      [JSONPatch{op: "add", path: %s, value: %s}]) +
    (has(c.volumeMounts) ? [] : [JSONPatch{op: "add", path: %s, value: []}])%s)[0]).flatten()`,
		containers, isTarget(), mountsOf, isToken("m"), cleaned("m.mountPath"),
		g.missingEnv(true), refersToMissing(), at("env/"), at("env/-"), at("env"), g.missingEnv(false), at("volumeMounts"), mounts)
}

// refersToMissing tells whether a variable of container c refers to one of those
// that it lacks, so that these must stand before it.
func refersToMissing() string {
	return fmt.Sprintf(`!(%s in names) && c.env.map(e, e.?value.orValue("")).exists(v, v.contains("$(") && missing.exists(m, v.contains("$(" + string(m.name) + ")")))`, quote(contract.EnvPodUID))
}

// denial is the text with which inject denies the pod, or the empty string, and a
// pattern for the texts that it may be.
func (g *generator) denial() (text, pattern string, err error) {
	s := g.sampler
	var cases, shapes []string
	var failed error
	add := func(condition string, reason finding.Code, p samplePod, h holes) {
		text, err := s.denial(reason, p)
		if err != nil {
			failed = errors.Join(failed, err)
			return
		}
		cases = append(cases, condition+" ?\n"+indent(h.fill(text)))
		shapes = append(shapes, h.pattern(text))
	}
	end := func(last string) (string, string, error) {
		return strings.Join(append(cases, last), " :\n"), "^(" + strings.Join(shapes, "|") + ")$", failed
	}
	annotated := func(key, value string) samplePod {
		return samplePod{annotations: map[string]string{contract.InjectProxyAnnotation: "true", key: value}}
	}
	badExpiration := fmt.Sprintf(`variables.expirationText != "" && !(variables.expirationText.matches(%s) && variables.expiration >= %d && variables.expiration <= %d)`,
		number, contract.MinTokenExpiration, contract.MaxTokenExpiration)
	expiration := holes{quote(holeValue): quoted("variables.expirationText"), holeNamespace: "params.metadata.namespace", holeAccount: "params.metadata.name"}
	add(badExpiration+fmt.Sprintf(` && %s.orValue("") != ""`, annotation(contract.TokenExpirationAnnotation)),
		finding.CodeTokenExpiration, samplePod{annotations: map[string]string{contract.TokenExpirationAnnotation: holeValue}}, expiration)
	add(badExpiration, finding.CodeTokenExpiration, samplePod{account: map[string]string{contract.TokenExpirationAnnotation: holeValue}}, expiration)
	cases = append(cases, "!variables.wantsProxy ?\n  \"\"")
	add("object.spec.?hostNetwork.orValue(false)", finding.CodeHostNetwork, samplePod{
		annotations: map[string]string{contract.InjectProxyAnnotation: "true"}, spec: map[string]any{"hostNetwork": true},
	}, nil)
	add(onWindows(), finding.CodeProxyWindows, samplePod{
		annotations: map[string]string{contract.InjectProxyAnnotation: "true"}, spec: map[string]any{"os": map[string]any{"name": "windows"}},
	}, nil)
	if !g.hasProxy() {
		add("true", finding.CodeProxyImage, samplePod{annotations: map[string]string{contract.InjectProxyAnnotation: "true"}}, nil)
		return end(`""`)
	}
	add("!(variables.proxyMode in "+names([]string{contract.ProxyModeRedirect, contract.ProxyModeEnv})+")", finding.CodeProxyMode,
		annotated(contract.ProxyModeAnnotation, holeValue), holes{quote(holeValue): quoted("variables.proxyMode")})
	add("variables.proxyPort < 1 || variables.proxyPort > 65535", finding.CodeProxyPort,
		annotated(contract.ProxyPortAnnotation, holeValue), holes{quote(holeValue): quoted(`string(` + annotation(contract.ProxyPortAnnotation) + `.orValue(""))`)})
	for _, l := range []struct{ key, pattern string }{
		{contract.ProxyIdentitiesAnnotation, identitymap.Pattern},
		{contract.ProxyAllowedClientIDsAnnotation, "^" + guid + "$"},
	} {
		bad := fmt.Sprintf("%s.filter(s, !s.matches(%s))", items(l.key), quote(l.pattern))
		add(fmt.Sprintf("size(%s) > 0", bad), finding.CodeProxyIdentity, annotated(l.key, holeValue), holes{quote(holeValue): quoted(bad + "[0]")})
	}
	const twice = "x=" + sampleGUID + ";x=10000000-0000-0000-0000-000000000000"
	add(fmt.Sprintf("size(%s) > 0", contradictions()), finding.CodeProxyIdentity,
		annotated(contract.ProxyIdentitiesAnnotation, twice), holes{quote("x"): quoted(contradictions() + "[0]")})
	add(fmt.Sprintf("size(%s) > 0", badQuantities()), finding.CodeProxyResources, annotated(contract.ProxyCPURequestAnnotation, holeValue), holes{
		contract.ProxyCPURequestAnnotation: expr(badQuantities() + "[0]"),
		quote(holeValue):                   quoted("object.metadata.annotations[" + badQuantities() + "[0]]"),
	})
	for _, q := range inject.Quantities() {
		request, limit := annotation(q.Request), annotation(q.Limit)
		p := annotated(q.Request, "2")
		p.annotations[q.Limit] = "1"
		add(fmt.Sprintf(`%[1]s.hasValue() && %[2]s.hasValue() &&
quantity(string(%[1]s.orValue(""))).isGreaterThan(quantity(string(%[2]s.orValue(""))))`, request, limit),
			finding.CodeProxyResources, p, holes{quote("2"): quoted(request + `.orValue("")`), quote("1"): quoted(limit + `.orValue("")`)})
	}
	uid := fmt.Sprintf(`variables.everyContainer.filter(c,
  !(c.name in %s) &&
  c.?securityContext.?runAsUser.or(object.spec.?securityContext.?runAsUser).orValue(-1) == %d).map(c, c.name)`,
		names([]string{contract.ProxyContainer, contract.ProxyInitContainer}), contract.ProxyUID)
	add(fmt.Sprintf("variables.proxyMode == %s && size(%s) > 0", quote(contract.ProxyModeRedirect), uid), finding.CodeProxyUID, samplePod{
		annotations: map[string]string{contract.InjectProxyAnnotation: "true", contract.ProxyModeAnnotation: contract.ProxyModeRedirect},
		spec: map[string]any{"containers": []any{map[string]any{
			"name": holeValue, "securityContext": map[string]any{"runAsUser": contract.ProxyUID},
		}}},
	}, holes{quote(holeValue): quoted("(" + uid + ")[0]")})
	return end(`""`)
}

// onWindows tells whether the pod can only run on Windows.
func onWindows() string {
	const label = `"kubernetes.io/os"`
	return fmt.Sprintf(`(object.spec.?os.?name.orValue("") == "windows" || object.spec.?nodeSelector[?%[1]s].orValue("") == "windows" ||
[object.spec.?affinity.?nodeAffinity.?requiredDuringSchedulingIgnoredDuringExecution.?nodeSelectorTerms.orValue([])].exists(terms,
  size(terms) > 0 && terms.all(t, t.?matchExpressions.orValue([]).exists(r,
    r.key == %[1]s && r.operator == "In" && r.?values.orValue([]) == ["windows"]))))`, label)
}

// contradictions are the IDs with two of the proxy's identities. Pairs of the same ID
// are neighbours when sorted.
func contradictions() string {
	id := func(at string) string { return fmt.Sprintf(`pairs[%s].split("=")[0]`, at) }
	return fmt.Sprintf(`[%s.map(p, p.lowerAscii()).sort()].map(pairs, lists.range(size(pairs))
  .filter(j, j > 0 && pairs[j] != pairs[j - 1] && %s == %s).map(j, %[2]s))[0]`, items(contract.ProxyIdentitiesAnnotation), id("j"), id("j - 1"))
}

// badQuantities are the annotations for quantities that hold none.
func badQuantities() string {
	var keys []string
	for _, q := range inject.Quantities() {
		keys = append(keys, q.Request, q.Limit)
	}
	return fmt.Sprintf(`%s.filter(k, object.metadata.?annotations[?k].hasValue() && !object.metadata.annotations[k].matches(%s))`, names(keys), quote(inject.QuantityPattern))
}

// resourcesOf are those of one of the proxy's containers: its own, if the pod as a
// whole has none, and what annotations say in place of them.
func resourcesOf(container map[string]any) expr {
	own, _ := container["resources"].(map[string]any)
	field := func(name string, key func(inject.Quantity) string) string {
		var sized, annotated []string
		for _, q := range inject.Quantities() {
			sized = append(sized, fmt.Sprintf("k == %s && (%s.hasValue() || %s.hasValue())", quote(q.Resource), annotation(q.Request), annotation(q.Limit)))
			annotated = append(annotated, fmt.Sprintf(`[%s, string(%s.orValue(""))]`, quote(q.Resource), annotation(key(q))))
		}
		quantities, ok := own[name].(map[string]any)
		if !ok {
			quantities = map[string]any{}
		}
		return fmt.Sprintf(`(%s.transformList(k, v, !variables.podHasResources &&
  !(%s), [k, v]) +
[%s].filter(q, q[1] != "")).transformMapEntry(i, q, {q[0]: q[1]})`, literal(quantities, nil), strings.Join(sized, " || "), strings.Join(annotated, ", "))
	}
	return expr(literal(map[string]any{
		"requests": expr(field("requests", func(q inject.Quantity) string { return q.Request })),
		"limits":   expr(field("limits", func(q inject.Quantity) string { return q.Limit })),
	}, nil))
}

const guid = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"

func (g *generator) proxyVariables(v *variables) {
	v.add("proxyPort", "%s", proxyPort())
	v.add("podHasResources", "size(object.spec.?resources.?requests.orValue({})) + size(object.spec.?resources.?limits.orValue({})) > 0")
	v.add("proxyCA", `variables.wantsProxy ? %s : ""`, g.orDefault(contract.ProxyCAAnnotation))
}

// proxyPort is a number: zero for an annotation that is none.
func proxyPort() string {
	return fmt.Sprintf(`(!%[1]s.hasValue() ? %[2]d :
%[1]s.orValue("").matches(%[3]s) ? int(%[1]s.orValue("")) : 0)`, annotation(contract.ProxyPortAnnotation), contract.DefaultProxyPort, number)
}

// env is the environment of a container that sets none of it.
func (g *generator) env() string {
	s := literal(g.plain.env, g.holes())
	if extra := g.customEnv(); len(extra) > 0 {
		s = "(" + s + " +\n(variables.customEndpoint ? " + literal(extra, g.holes()) + " : []))"
	}
	return s + `.filter(e, e.value != "")`
}

func (g *generator) customEnv() []any {
	if !g.hasCustom() {
		return nil
	}
	return g.custom.env[len(g.plain.env):]
}

// endpointEnv is what env mode adds behind the rest.
func (g *generator) endpointEnv() []any {
	if !g.hasProxy() {
		return nil
	}
	return g.proxy[contract.ProxyModeEnv].env[len(g.plain.env):]
}

func envNames(env []any) []string {
	all := make([]string, len(env))
	for i, e := range env {
		all[i] = nameOf(e)
	}
	return all
}

// missingEnv is what container c lacks: one that sets variables, whose names are
// known, or one that sets none.
func (g *generator) missingEnv(some bool) string {
	missing, lacks := "variables.env", ""
	if some {
		lacks = "!(e.name in names)"
		missing += ".filter(e, " + lacks
		// The SDKs refuse file and data together, so the author's choice of one keeps
		// us from adding the other.
		switch custom := envNames(g.customEnv()); {
		case slices.Contains(custom, contract.EnvCAFile):
			missing += unless(contract.EnvCAFile, contract.EnvCAData)
		case slices.Contains(custom, contract.EnvCAData):
			missing += unless(contract.EnvCAData, contract.EnvCAFile)
		}
		missing += ")"
	}
	s := missing
	if files := g.filesBelowMount(); len(files) > 0 {
		s = fmt.Sprintf(`(size(tokenAt) == 0 ? %[1]s :
  %[1]s.map(e, e.name in %[2]s ? dyn({"name": string(e.name), "value": string(tokenAt[0]) + string(e.value).substring(%[3]d)}) : e))`,
			s, names(files), len(contract.MountPath))
	}
	endpoint := g.endpointEnv()
	if len(endpoint) == 0 {
		return s
	}
	theirs := ""
	added := literal(endpoint, g.holes())
	if some {
		own := slices.DeleteFunc(envNames(endpoint), func(n string) bool { return n == contract.EnvPodUID })
		theirs = " && !names.exists(n, n in " + names(own) + ")"
		added += ".filter(e, " + lacks + ")"
	}
	return s + fmt.Sprintf(` +
  (variables.proxyMode == %s && c.name != %s%s ?
%s : [])`, quote(contract.ProxyModeEnv), quote(contract.ProxyContainer), theirs, indent(indent(added)))
}

// unless leaves out our variable where the container sets the other one.
func unless(ours, theirs string) string {
	return fmt.Sprintf(" && !(e.name == %s && %s in names)", quote(ours), quote(theirs))
}

// filesBelowMount are the variables that name files in the reserved volume.
func (g *generator) filesBelowMount() []string {
	var found []string
	for _, e := range slices.Concat(g.plain.env, g.customEnv()) {
		if value, _ := e.(map[string]any)["value"].(string); strings.HasPrefix(value, contract.MountPath+"/") {
			found = append(found, nameOf(e))
		}
	}
	return found
}

func mount(name expr, path string) string {
	return "dyn(" + literal(map[string]any{"name": name, "mountPath": path, "readOnly": true}, nil) + ")"
}

// mounts of the token volumes, each under a condition.
func (g *generator) mounts(reserved, legacy string, add func(condition, mount string)) {
	switch token := mount("variables.tokenVolume", contract.MountPath); {
	case g.reservedAlways():
		add(reserved, token)
	case g.reservedForCustom():
		add("variables.customEndpoint && "+reserved, token)
	}
	if g.usesLegacy() {
		add(legacy, mount(expr(quote(contract.LegacyVolume)), contract.LegacyMountPath))
	}
}

// wantedVolumes names the volumes that mounts, old and new, refer to.
func (g *generator) wantedVolumes() string {
	var parts []string
	switch {
	case g.reservedAlways():
		parts = append(parts, "[variables.tokenVolume]")
	case g.reservedForCustom():
		parts = append(parts, "(variables.customEndpoint ? [variables.tokenVolume] : [])")
	}
	if g.usesLegacy() {
		parts = append(parts, "["+quote(contract.LegacyVolume)+"]")
	}
	if g.hasProxy() {
		parts = append(parts, fmt.Sprintf(`(%s || %s ? [%s] + (variables.proxyCA != "" ? [%s] : []) : [])`, addsSidecar(), addsInit(), quote(contract.EmptyVolume), quote(contract.ProxyCAVolume)))
	}
	parts = append(parts, fmt.Sprintf("variables.everyContainer.map(c, %s.filter(m, %s).map(m, m.name)).flatten()", mountsOf, isReserved("m.name")))
	return strings.Join(parts, " +\n")
}

// volume is the wanted content of the volume named n.
func (g *generator) volume() string {
	h := g.holes()
	named := func(volume any) map[string]any {
		v := maps.Clone(volume.(map[string]any))
		v["name"] = expr("n")
		return v
	}
	content := func(name string) string {
		plain, ok := g.plain.volumes[name]
		custom, okCustom := g.custom.volumes[name]
		switch {
		case ok && okCustom && !reflect.DeepEqual(plain, custom):
			return "variables.customEndpoint ?\n" + indent(literal(named(custom), h)) + " :\n" + indent(literal(named(plain), h))
		case ok:
			return literal(named(plain), h)
		default:
			return literal(named(custom), h)
		}
	}
	var cases []string
	if g.usesLegacy() {
		cases = append(cases, "n == "+quote(contract.LegacyVolume)+" ? ("+content(contract.LegacyVolume)+")")
	}
	if g.hasProxy() {
		proxied := g.proxy[contract.ProxyModeRedirect].volumes
		cases = append(cases,
			"n == "+quote(contract.EmptyVolume)+" ? "+literal(named(proxied[contract.EmptyVolume]), h),
			"n == "+quote(contract.ProxyCAVolume)+` && variables.proxyCA != "" ? `+literal(named(proxied[contract.ProxyCAVolume]), h))
	} else {
		cases = append(cases, "n == "+quote(contract.EmptyVolume)+" ? "+
			literal(map[string]any{"name": expr("n"), "downwardAPI": map[string]any{"defaultMode": 0o644}}, h))
	}
	cases = append(cases, g.reservedContent(named, content))
	return strings.Join(cases, " :\n")
}

// reservedContent is that of any other reserved volume, which a pod may bring along
// even where the layout has none.
func (g *generator) reservedContent(named func(any) map[string]any, content func(string) string) string {
	if g.reservedAlways() {
		return "(" + content(contract.TokenVolume) + ")"
	}
	plain := literal(named(g.reserved), g.holes())
	if !g.hasCustom() {
		return plain
	}
	return "(variables.customEndpoint ?\n" + indent(literal(named(g.reservedCustom), g.holes())) + " :\n" + indent(plain) + ")"
}

func (g *generator) addReserved() (err error) {
	if g.reservedAlways() {
		return nil
	}
	if g.reserved, err = g.reservedSample(""); err == nil && g.hasCustom() {
		g.reservedCustom, err = g.reservedSample(g.config.Settings.CustomTokenEndpoint.Annotation)
	}
	return err
}

// reservedSample asks for the reserved volume of a layout that has none, as a pod
// that mounts it gets it.
func (g *generator) reservedSample(annotation string) (any, error) {
	annotations := map[string]string{contract.TokenExpirationAnnotation: sampleSeconds}
	if annotation != "" {
		annotations[annotation] = "true"
	}
	result, err := g.sampler.inject(samplePod{annotations: annotations, spec: map[string]any{"containers": []any{map[string]any{
		"name": "app", "volumeMounts": []any{map[string]any{"name": contract.TokenVolume, "mountPath": contract.MountPath}},
	}}}})
	if err != nil {
		return nil, err
	}
	volumes := map[string]any{}
	for _, op := range result.Patch {
		if op.Path == "/spec/volumes" {
			items, err := generic(op.Value)
			if err != nil {
				return nil, err
			}
			if err := byName(volumes, items); err != nil {
				return nil, err
			}
		}
	}
	if !has(volumes, contract.TokenVolume) {
		return nil, errors.New("a mount of the reserved volume brings none")
	}
	return volumes[contract.TokenVolume], nil
}

// sidecar joins the samples of both modes and puts the pod's own arguments,
// variables and mounts in.
func (g *generator) sidecar(redirect, env any) string {
	h := g.holes()
	isEnv := "variables.proxyMode == " + quote(contract.ProxyModeEnv)
	joined := map[string]any{}
	for key, value := range redirect.(map[string]any) {
		other := env.(map[string]any)[key]
		switch {
		case key == "args" || key == "env" || key == "volumeMounts":
		case key == "resources":
			joined[key] = resourcesOf(redirect.(map[string]any))
		case key == "securityContext":
			joined[key] = expr(isEnv + ` && object.spec.?securityContext.?runAsUser.orValue(-1) != 0 ?
` + literal(other, h) + " :\n" + literal(value, h))
		case key == "ports":
			joined[key] = expr(literal(value, h.integer()))
		case reflect.DeepEqual(value, other):
			joined[key] = value
		default:
			joined[key] = expr(isEnv + " ?\n" + literal(other, h) + " :\n" + literal(value, h))
		}
	}
	args := redirect.(map[string]any)["args"].([]any)
	fixed := ""
	for _, arg := range args[2:] {
		if s, ok := arg.(string); ok && strings.HasPrefix(s, "--drain-delay=") { // it follows from the settings alone
			fixed = literal([]any{arg}, h) + " +\n"
		}
	}
	joined["args"] = expr(fmt.Sprintf(`%s +
(%s ? ["--proxy-mode=env"] : []) +
%s%s.map(s, "--identity=" + s) +
%s.map(s, "--allow-client-id=" + s) +
(variables.proxyCA != "" ? [%s] : [])`, literal(args[:2], h), isEnv,
		fixed, items(contract.ProxyIdentitiesAnnotation), items(contract.ProxyAllowedClientIDsAnnotation), quote("--ca-file="+contract.ProxyCAMountPath+"/"+contract.CAKey)))
	podUID := g.endpointEnv()[:1]
	joined["env"] = expr(fmt.Sprintf(`variables.env +
(%s ? %s : []) +
[dyn({"name": "HTTPS_PROXY", "value": %s}),
 dyn({"name": "NO_PROXY", "value": %s})].filter(e, e.value != "")`, isEnv, literal(podUID, h),
		g.orDefault(contract.ProxyEgressAnnotation), g.orDefault(contract.ProxyNoEgressAnnotation)))
	var mounts []string
	g.mounts("true", "true", func(condition, mount string) { mounts = append(mounts, "("+condition+" ? ["+mount+"] : [])") })
	joined["volumeMounts"] = expr(fmt.Sprintf(`%s +
(variables.proxyCA != "" ? [%s] : []) +
[%s]`, strings.Join(mounts, " + "), mount(expr(quote(contract.ProxyCAVolume)), contract.ProxyCAMountPath), mount(expr(quote(contract.EmptyVolume)), contract.APITokenMountPath)))
	return literal(joined, h)
}

// validating is the policy that denies what was refused and what was not injected.
func (g *generator) validating() (policySpec, error) {
	_, refusals, err := g.denial()
	if err != nil {
		return policySpec{}, err
	}
	otherAccount, err := g.sampler.denial(finding.CodeOtherAccount, samplePod{
		annotations: map[string]string{contract.InjectedForAnnotation: holeValue},
		spec:        map[string]any{"containers": []any{map[string]any{"name": "app", "env": []any{map[string]any{"name": contract.EnvClientID, "value": sampleGUID}}}}},
	})
	if err != nil {
		return policySpec{}, err
	}
	v := g.podVariables()
	checks := []string{fmt.Sprintf("sets.contains(c.?env.orValue([]).map(e, e.name), %s)", names(g.requiredEnv()))}
	var present []string
	tokenMounted := mountsOf + ".exists(m, " + isToken("m") + ")"
	tokenVolume := fmt.Sprintf("%s.exists(v, v.name == %s || %s)", volumes, quote(contract.TokenVolume), holdsToken("v.name"))
	switch {
	case g.reservedAlways():
		checks = append(checks, tokenMounted)
		present = append(present, tokenVolume)
	case g.reservedForCustom():
		checks = append(checks, "(!variables.customEndpoint || "+tokenMounted+")")
		present = append(present, "(!variables.customEndpoint || "+tokenVolume+")")
	}
	if g.usesLegacy() {
		checks = append(checks, mountsOf+".exists(m, "+isLegacy("m")+")")
		present = append(present, fmt.Sprintf("%s.exists(v, v.name == %s)", volumes, quote(contract.LegacyVolume)))
	}
	injected := fmt.Sprintf(`variables.everyContainer.all(c, %s || !(%s)) &&
%s &&
(!variables.wantsProxy || %s) &&
(variables.proxyMode != %s || %s)`,
		strings.Join(checks, " && "), isTarget(), strings.Join(present, " &&\n"),
		hasContainer(contract.ProxyContainer), quote(contract.ProxyModeRedirect), hasContainer(contract.ProxyInitContainer))
	notInjected := finding.NotInjected(holeNamespace+"/"+holeAccount, g.config.LabelledAccounts).Text()
	p := pods()
	p.Variables = v
	p.Validations = []validation{
		{
			Expression: "!" + annotation(contract.RefusedAnnotation) + ".hasValue()",
			MessageExpression: fmt.Sprintf(`[string(%s.orValue(""))].map(t, size(t) <= %d && t.matches(%s) ? t : %s)[0]`,
				annotation(contract.RefusedAnnotation), longestRefusal, quote(refusals), quote(finding.RefusedByHand().Text())),
			Reason: "Invalid",
		},
		{
			Expression:        injected,
			MessageExpression: podAccount().fill(notInjected),
			Reason:            "Forbidden",
		},
		{
			Expression: fmt.Sprintf("%s.orValue(%s) == %[2]s || !variables.everyContainer.exists(c, %s)", marked(), accountName, isSet(contract.EnvClientID)),
			MessageExpression: holes{
				quote(holeValue): quoted(marked() + `.orValue("")`), quote(holeAccount): quoted(accountName),
			}.fill(otherAccount),
			Reason: "Invalid",
		},
	}
	p.AuditAnnotations = []auditAnnotation{
		{"engine", quote("policy")},
		{"version", quote(g.config.Version)},
	}
	return p, nil
}

// longestRefusal is above what a refusal with the longest quoted values has, in
// characters.
const longestRefusal = 2048

// requiredEnv is what every container has after injection, whatever its account.
func (g *generator) requiredEnv() []string {
	return slices.DeleteFunc(envNames(g.plain.env), func(name string) bool {
		return name == contract.EnvClientID || name == contract.EnvTenantID && g.config.Settings.TenantID == ""
	})
}
