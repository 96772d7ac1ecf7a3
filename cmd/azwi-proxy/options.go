package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/loglevel"
	"azwi/internal/token/entra"
	"azwi/internal/token/identitymap"
	"azwi/internal/token/proxy"
	"azwi/internal/token/redirect"
)

// options are the flags and environment of the sidecar and its probe, checked.
type options struct {
	version  bool
	logLevel slog.Level
	port     int

	probe        bool
	probeTimeout time.Duration
	waitForToken time.Duration
	waitResource string

	tokenFile   string
	identities  proxy.Identities
	secret      string
	lax         bool
	exchange    entra.ExchangerConfig
	grace       time.Duration
	cacheFile   string
	metricsAddr string
	blockIMDS   bool
	drainDelay  time.Duration
	imdsURL     *url.URL
}

// maxDrainDelay bounds --drain-delay.
const maxDrainDelay = time.Hour

func parse(args []string, getenv func(string) string, stderr io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("azwi-proxy", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprint(stderr, "Usage: azwi-proxy [flags]           serve tokens\n"+
			"       azwi-proxy --probe [flags]   wait until the proxy in this pod is ready\n"+
			"       azwi-proxy init [flags]      redirect the pod's metadata traffic to the proxy\n\nFlags:\n")
		fs.PrintDefaults()
	}
	fs.BoolVar(&o.version, "version", false, "print the version and exit")
	fs.IntVar(&o.port, "proxy-port", contract.DefaultProxyPort, "port on 127.0.0.1 and ::1")
	logLevel := fs.String("log-level", "info", "error, warn, info, debug, trace or all")
	mode := fs.String("proxy-mode", contract.ProxyModeRedirect, "redirect, or env: serve the App Service forms too, to those who know $"+contract.EnvPodUID)
	fs.BoolVar(&o.probe, "probe", false, "wait until the proxy is ready, then exit")
	fs.DurationVar(&o.probeTimeout, "probe-timeout", 30*time.Second, "how long --probe waits for the proxy")
	fs.DurationVar(&o.waitForToken, "wait-for-token", 0, "with --probe: how long to wait for the first token (default: do not wait)")
	fs.StringVar(&o.waitResource, "wait-for-resource", "", "the resource of that token (default Azure Resource Manager)")
	var mappings, allowed list
	fs.Var(&mappings, "identity", "`ID=CLIENT_ID[@TENANT_ID]`: whose token a request for this object, resource or client ID gets; may be repeated")
	fs.Var(&allowed, "allow-client-id", "serve this client ID and no others; may be repeated (default any)")
	compat := fs.String("compat", "", "v1.6: accept requests without Metadata header and use the default identity for unknown IDs, like upstream's proxy")
	fs.DurationVar(&o.grace, "replication-grace", 2*time.Minute, "how long a missing federated credential counts as not yet replicated")
	fs.StringVar(&o.cacheFile, "cache-file", "", "file that keeps tokens over restarts (default: none)")
	fs.StringVar(&o.exchange.ExtraCAFile, "ca-file", "", "PEM file of CAs to trust in addition to the system's")
	fs.StringVar(&o.metricsAddr, "metrics-addr", "", "host:port of /metrics (default: none)")
	fs.BoolVar(&o.blockIMDS, "block-imds", false, "answer 404 to any request that is not for a token, instead of forwarding it to the metadata service")
	fs.DurationVar(&o.drainDelay, "drain-delay", 0, "how long to keep serving after SIGTERM: for a sidecar that is not native, whose application may outlive the signal")
	imdsURL := fs.String("imds-url", "http://"+contract.IMDSAddress, "the real metadata service")
	if err := fs.Parse(args); err != nil {
		return o, flagError(err)
	}
	if o.version {
		return o, nil
	}
	var mistakes []error
	mistake := func(err error) {
		if err != nil {
			mistakes = append(mistakes, err)
		}
	}
	mistake(noArguments(fs))
	var err error
	o.logLevel, err = loglevel.Parse(*logLevel)
	mistake(err)
	if o.port < 0 || o.port > 65535 {
		mistake(fmt.Errorf("--proxy-port %d: use 1 to 65535", o.port))
	}
	o.exchange.AuthorityHost = getenv(contract.EnvAuthorityHost)
	if o.waitResource == "" {
		o.waitResource = resourceManager(o.exchange.AuthorityHost)
	}
	if o.probe {
		return o, errors.Join(mistakes...)
	}

	if *compat != "" && *compat != "v1.6" {
		mistake(fmt.Errorf("--compat %q: v1.6 is the only one", *compat))
	}
	o.lax = *compat == "v1.6"
	if o.waitForToken != 0 {
		mistake(errors.New("--wait-for-token needs --probe"))
	}
	if o.drainDelay < 0 || o.drainDelay > maxDrainDelay {
		mistake(fmt.Errorf("--drain-delay %s: use 0s to %s", o.drainDelay, maxDrainDelay))
	}
	if o.grace == 0 {
		o.grace = -1 // none, where zero would be the default
	}
	if o.imdsURL, err = url.Parse(*imdsURL); err != nil || o.imdsURL.Scheme != "http" || o.imdsURL.Host == "" || strings.Trim(o.imdsURL.Path, "/") != "" {
		mistake(fmt.Errorf("--imds-url %q: write http://HOST[:PORT]", *imdsURL))
	}
	o.identities, err = parseIdentities(getenv, mappings, allowed, o.lax)
	mistake(err)
	if o.tokenFile = getenv(contract.EnvFederatedTokenFile); o.tokenFile == "" {
		mistake(finding.PodNotLabelled().Err(nil))
	}
	switch *mode {
	case contract.ProxyModeRedirect:
	case contract.ProxyModeEnv:
		// Not a flag, as command lines show in process lists.
		if o.secret = getenv(contract.EnvPodUID); !proxy.ValidID(o.secret) {
			mistake(errors.New("--proxy-mode=env needs the pod's UID in " + contract.EnvPodUID))
		}
	default:
		mistake(fmt.Errorf("--proxy-mode %q: use redirect or env", *mode))
	}
	o.exchange.TokenProxy = entra.TokenProxy{
		URL: getenv(contract.EnvTokenProxy), SNIName: getenv(contract.EnvSNIName),
		CAFile: getenv(contract.EnvCAFile), CAData: getenv(contract.EnvCAData),
	}
	return o, errors.Join(mistakes...)
}

func parseIdentities(getenv func(string) string, mappings, allowed []string, fallBack bool) (proxy.Identities, error) {
	ids := proxy.Identities{
		Default:  proxy.Identity{ClientID: strings.ToLower(getenv(contract.EnvClientID)), TenantID: getenv(contract.EnvTenantID)},
		FallBack: fallBack,
	}
	var mistakes []error
	if !proxy.ValidID(ids.Default.TenantID) {
		mistakes = append(mistakes, errors.New(contract.EnvTenantID+" is missing or not a tenant ID: set it to the ID of your tenant"))
	}
	if ids.Default.ClientID != "" && !proxy.ValidID(ids.Default.ClientID) {
		mistakes = append(mistakes, finding.EnvClientIDNotGUID().Err(nil))
	}
	mapped, err := identitymap.Parse(mappings)
	if err != nil {
		mistakes = append(mistakes, fmt.Errorf("--identity: %w", err))
	}
	ids.Mapped = mapped
	for _, id := range allowed {
		if !proxy.ValidID(id) {
			mistakes = append(mistakes, fmt.Errorf("--allow-client-id %q is not a client ID", id))
		}
		ids.Allowed = append(ids.Allowed, strings.ToLower(id))
	}
	return ids, errors.Join(mistakes...)
}

// resourceManager is the audience of Azure Resource Manager in an authority's
// cloud: every tenant has it.
func resourceManager(authorityHost string) string {
	clouds := entra.Clouds()
	for _, c := range clouds {
		if strings.TrimSuffix(c.AuthorityHost, "/") == strings.TrimSuffix(authorityHost, "/") {
			return c.ResourceManagerAudiences[0]
		}
	}
	return clouds[0].ResourceManagerAudiences[0]
}

// list is a flag that may be repeated; commas separate items, and blanks are
// dropped.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(s string) error {
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			*l = append(*l, item)
		}
	}
	return nil
}

// initOptions are those of the init container.
type initOptions struct {
	logLevel slog.Level
	remove   bool
	redirect redirect.Config
}

func parseInit(args []string, getenv func(string) string, stderr io.Writer) (initOptions, error) {
	var o initOptions
	fs := flag.NewFlagSet("azwi-proxy init", flag.ContinueOnError)
	fs.SetOutput(stderr)
	port := contract.DefaultProxyPort
	var portError error
	if s := getenv(contract.ProxyPortEnv); s != "" {
		if port, portError = strconv.Atoi(s); portError != nil {
			portError = fmt.Errorf("%s %q: use a port, 1 to 65535", contract.ProxyPortEnv, s)
		}
	}
	fs.IntVar(&o.redirect.Port, "proxy-port", port, "port of the proxy; the environment variable "+contract.ProxyPortEnv+" sets the default")
	fs.IntVar(&o.redirect.UID, "proxy-uid", contract.ProxyUID, "user of the proxy, whose traffic is not redirected")
	fs.BoolVar(&o.remove, "remove", false, "undo the redirect")
	logLevel := fs.String("log-level", "info", "error, warn, info, debug, trace or all")
	if err := fs.Parse(args); err != nil {
		return o, flagError(err)
	}
	var err error
	o.logLevel, err = loglevel.Parse(*logLevel)
	err = errors.Join(noArguments(fs), portError, err)
	if o.redirect.Port < 1 || o.redirect.Port > 65535 {
		err = errors.Join(err, fmt.Errorf("--proxy-port %d: use 1 to 65535", o.redirect.Port))
	}
	if o.redirect.UID < 1 {
		err = errors.Join(err, errors.New("--proxy-uid must be above 0: root's traffic has to be redirected too"))
	}
	return o, err
}

func flagError(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	return errors.New("see --help") // the flag set has printed the mistake
}

func noArguments(fs *flag.FlagSet) error {
	if fs.NArg() == 0 {
		return nil
	}
	return fmt.Errorf("unexpected argument %q: all settings are flags or environment variables", fs.Arg(0))
}
