package settings

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"azwi/contract"
	"azwi/internal/pod/inject"
	"azwi/internal/token/entra"
)

// Flags are the choices made on the command line, by name. The rest is in the
// environment.
type Flags map[string]*string

// Register adds the flags of contract.Settings to fs. Their values are known after
// fs.Parse.
func Register(fs *flag.FlagSet) Flags {
	f := Flags{}
	for _, s := range contract.Settings() {
		usage, value := s.Doc, s.Default
		if s.Type.Kind != contract.Choice && value != "" {
			usage, value = usage+" (default "+value+")", ""
		}
		if s.Flag != "" {
			f[s.Flag] = fs.String(s.Flag, value, usage)
		}
	}
	return f
}

// Settings checks the flags and the environment and joins them. getenv is
// os.Getenv or a stand-in; image is the proxy's where PROXY_IMAGE is not set, and
// without either, pods that ask for the proxy are denied. The error lists every
// mistake, each with the name of its flag or variable.
func (f Flags) Settings(getenv func(string) string, image string) (inject.Settings, error) {
	s := inject.Settings{
		TenantID: getenv(contract.EnvTenantID),
		Audience: *f["audience"],
		Defaults: map[string]string{},
		Proxy: inject.Proxy{
			Image:     cmp.Or(getenv(contract.EnvProxyImage), image),
			InitImage: getenv(contract.EnvProxyInitImage),
		},
	}
	mistakes := placeholders(getenv)
	for _, d := range contract.ClusterDefaults() {
		value := *f[d.Flag]
		if err := check(d, value); err != nil {
			mistakes = append(mistakes, err)
		}
		if value != "" {
			s.Defaults[d.Annotation] = value
		}
	}
	for _, name := range []string{contract.EnvProxyImage, contract.EnvProxyInitImage} {
		if err := checkImage(getenv(name)); err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s: %w", name, err))
		}
	}
	if s.TenantID == "" {
		mistakes = append(mistakes, fmt.Errorf("%s is required: set it to the ID of your Microsoft Entra tenant", contract.EnvTenantID))
	}
	err := s.Layout.UnmarshalText([]byte(*f["token-path"]))
	if err != nil {
		mistakes = append(mistakes, fmt.Errorf("--token-path: %w", err))
	}
	if s.Proxy.Resources, err = parseResources(*f["proxy-resources"]); err != nil {
		mistakes = append(mistakes, fmt.Errorf("--proxy-resources: %w", err))
	}
	if s.Proxy.InitResources, err = parseResources(*f["proxy-init-resources"]); err != nil {
		mistakes = append(mistakes, fmt.Errorf("--proxy-init-resources: %w", err))
	}
	if s.AuthorityHost, err = authorityHost(getenv); err != nil {
		mistakes = append(mistakes, err)
	}
	if s.CustomTokenEndpoint, err = f.customTokenEndpoint(getenv); err != nil {
		mistakes = append(mistakes, err)
	}
	return s, errors.Join(mistakes...)
}

// check finds what the type of a flag forbids.
func check(s contract.Setting, value string) error {
	switch {
	case s.Type.Kind == contract.Choice && !slices.Contains(s.Type.Values, value):
		return fmt.Errorf("--%s %q: use %s", s.Flag, value, strings.Join(s.Type.Values, " or "))
	case s.Type.Kind == contract.Egress && hasPassword(value):
		return fmt.Errorf("--%s has a password, which every pod with the proxy would show in clear text: use an egress proxy that needs none", s.Flag)
	}
	return nil
}

// parseResources returns nil for no text.
func parseResources(text string) (*inject.Resources, error) {
	if text == "" {
		return nil, nil
	}
	var r inject.Resources
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf(`%q is not of the form {"requests":{"cpu":"10m"},"limits":{"memory":"64Mi"}}: %w`, text, err)
	}
	return &r, nil
}

// authorityHost is that of the Azure cloud, or one given by URL for a cloud that
// is not in the table.
func authorityHost(getenv func(string) string) (string, error) {
	if host := getenv(contract.EnvAuthorityHost); host != "" {
		if err := checkURL(host); err != nil {
			return "", fmt.Errorf("%s: %w", contract.EnvAuthorityHost, err)
		}
		return host, nil
	}
	name := getenv(contract.EnvEnvironment)
	if isPlaceholder(name) {
		return "", nil // placeholders tells
	}
	cloud, err := entra.CloudByName(name)
	if err != nil {
		return "", fmt.Errorf("%s: %w; for another cloud set %s to its URL", contract.EnvEnvironment, err, contract.EnvAuthorityHost)
	}
	return cloud.AuthorityHost, nil
}

func (f Flags) customTokenEndpoint(getenv func(string) string) (inject.CustomTokenEndpoint, error) {
	suffix, audience := *f["custom-token-endpoint-annotation-suffix"], *f["custom-token-endpoint-audience"]
	switch {
	case suffix == "" && audience == "":
		return inject.CustomTokenEndpoint{}, nil
	case suffix == "" || audience == "":
		return inject.CustomTokenEndpoint{}, errors.New("--custom-token-endpoint-annotation-suffix and --custom-token-endpoint-audience go together: set both or neither")
	}
	e := inject.CustomTokenEndpoint{
		Annotation:          contract.CustomTokenEndpointPrefix + suffix,
		Audience:            audience,
		TokenProxy:          getenv(contract.EnvTokenProxy),
		SNIName:             getenv(contract.EnvSNIName),
		CAData:              getenv(contract.EnvCAData),
		CAConfigMap:         getenv(contract.EnvCAConfigMapName),
		CATrustBundleSigner: getenv(contract.EnvCACTBSignerName),
	}
	var mistakes []error
	if !validName("use-" + suffix) {
		mistakes = append(mistakes, fmt.Errorf("--custom-token-endpoint-annotation-suffix %q does not make an annotation key: use letters, digits, '-', '_' and '.', at most 59", suffix))
	}
	if strings.EqualFold(audience, contract.DefaultAudience) {
		mistakes = append(mistakes, fmt.Errorf("--custom-token-endpoint-audience may not be the default audience %s", contract.DefaultAudience))
	}
	if e.TokenProxy != "" {
		if err := checkURL(e.TokenProxy); err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s: %w", contract.EnvTokenProxy, err))
		}
	}
	sources := 0
	for _, ca := range []string{e.CAData, e.CAConfigMap, e.CATrustBundleSigner} {
		if ca != "" {
			sources++
		}
	}
	if sources > 1 {
		mistakes = append(mistakes, fmt.Errorf("set at most one of %s, %s and %s", contract.EnvCAData, contract.EnvCAConfigMapName, contract.EnvCACTBSignerName))
	}
	if selector := getenv(contract.EnvCACTBLabelSelector); selector != "" {
		if e.CATrustBundleSigner == "" {
			mistakes = append(mistakes, fmt.Errorf("%s needs %s", contract.EnvCACTBLabelSelector, contract.EnvCACTBSignerName))
		}
		var object map[string]any
		if err := json.Unmarshal([]byte(selector), &object); err != nil || object == nil {
			mistakes = append(mistakes, fmt.Errorf(`%s must be a label selector in JSON, for example {"matchLabels":{"app":"x"}}`, contract.EnvCACTBLabelSelector))
		} else {
			e.CATrustBundleSelector = json.RawMessage(selector)
		}
	}
	return e, errors.Join(mistakes...)
}

// placeholders names the variables whose value is still ${NAME}: a manifest was
// applied before anything filled it in.
func placeholders(getenv func(string) string) []error {
	var mistakes []error
	for _, name := range []string{contract.EnvTenantID, contract.EnvEnvironment, contract.EnvProxyImage, contract.EnvProxyInitImage} {
		if value := getenv(name); isPlaceholder(value) {
			mistakes = append(mistakes, fmt.Errorf("%s is still the placeholder %s: fill it in before the manifest is applied (envsubst knows ${NAME}, but not ${NAME:-DEFAULT})", name, value))
		}
	}
	return mistakes
}

func isPlaceholder(value string) bool { return strings.Contains(value, "${") }

// checkImage refuses what no node can pull.
func checkImage(image string) error {
	switch {
	case strings.Contains(image, "://"):
		return fmt.Errorf("%q is a URL: write REGISTRY/NAME:TAG, without https://", image)
	case strings.HasPrefix(image, "/"):
		return fmt.Errorf("%q has no registry before its first slash: write REGISTRY/NAME:TAG", image)
	}
	return nil
}

// checkURL allows what the Azure SDKs accept as an authority or token proxy.
func checkURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not a URL", s)
	case u.Scheme != "https" || u.Host == "":
		return fmt.Errorf("%q must be an https URL", s)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("the URL of host %q may have no user, query or fragment", u.Host)
	}
	return nil
}

// hasPassword reports whether a URL, with or without its scheme, has one.
func hasPassword(s string) bool {
	ok, err := regexp.MatchString(`^([A-Za-z0-9+.-]+://)?[^@:/]*:[^/].*@`, s)
	return ok && err == nil
}

// validName is the name part of Kubernetes' qualified names, behind the slash.
func validName(s string) bool {
	ok, err := regexp.MatchString(`^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$`, s)
	return ok && err == nil
}
