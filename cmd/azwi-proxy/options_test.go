package main

import (
	"bytes"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"azwi/internal/token/entra"
	"azwi/internal/token/proxy"
	"azwi/internal/token/redirect"
	"azwi/internal/version"
)

// environment is what the webhook gives the sidecar, with changes: NAME=value, or
// NAME= to leave it out.
func environment(changes ...string) func(string) string {
	env := map[string]string{
		"AZURE_CLIENT_ID": "Web-Client", "AZURE_TENANT_ID": "tenant", "AZURE_AUTHORITY_HOST": "https://login.microsoftonline.us/",
		"AZURE_FEDERATED_TOKEN_FILE": "/token",
	}
	for _, change := range changes {
		name, value, _ := strings.Cut(change, "=")
		env[name] = value
	}
	return func(name string) string { return env[name] }
}

const (
	clientA = "aaaaaaaa-1111-4222-8333-444455556666"
	clientB = "bbbbbbbb-1111-4222-8333-444455556666"
)

func TestOptions(t *testing.T) {
	t.Parallel()
	defaults := func(change func(*options)) options {
		o := options{
			port: 8000, probeTimeout: 30 * time.Second, waitResource: "https://management.usgovcloudapi.net",
			tokenFile:  "/token",
			identities: proxy.Identities{Default: proxy.Identity{ClientID: "web-client", TenantID: "tenant"}, Mapped: map[string]proxy.Identity{}},
			exchange:   entra.ExchangerConfig{AuthorityHost: "https://login.microsoftonline.us/"},
			grace:      2 * time.Minute, imdsURL: &url.URL{Scheme: "http", Host: "169.254.169.254"},
		}
		change(&o)
		return o
	}
	for _, tt := range []struct {
		name   string
		args   string
		getenv func(string) string
		want   options
	}{
		{"defaults", "", environment(), defaults(func(*options) {})},
		{"no client", "", environment("AZURE_CLIENT_ID="), defaults(func(o *options) { o.identities.Default.ClientID = "" })},
		{
			"identities", "--identity=Object=" + strings.ToUpper(clientA) + ",/subscriptions/s=" + clientB + "@other --identity=o=" + clientB + " --allow-client-id=Client-A,client-b --allow-client-id client-c", environment(),
			defaults(func(o *options) {
				o.identities.Mapped = map[string]proxy.Identity{
					"object": {ClientID: clientA}, "/subscriptions/s": {ClientID: clientB, TenantID: "other"}, "o": {ClientID: clientB},
				}
				o.identities.Allowed = []string{"client-a", "client-b", "client-c"}
			}),
		},
		{"like upstream", "--compat=v1.6", environment(), defaults(func(o *options) { o.lax, o.identities.FallBack = true, true })},
		{"env mode", "--proxy-mode=env", environment("AZWI_POD_UID=uid"), defaults(func(o *options) { o.secret = "uid" })},
		{"redirect mode has no secret", "--proxy-mode=redirect", environment("AZWI_POD_UID=uid"), defaults(func(*options) {})},
		{"no grace", "--replication-grace=0s", environment(), defaults(func(o *options) { o.grace = -1 })},
		{
			"all else", "--proxy-port=1 --log-level=debug --cache-file=/c --ca-file=/ca --metrics-addr=:9 --block-imds --drain-delay=1h --imds-url=http://127.0.0.1:8/", environment(),
			defaults(func(o *options) {
				o.port, o.logLevel, o.cacheFile, o.exchange.ExtraCAFile, o.metricsAddr = 1, slog.LevelDebug, "/c", "/ca", ":9"
				o.blockIMDS, o.drainDelay, o.imdsURL = true, time.Hour, &url.URL{Scheme: "http", Host: "127.0.0.1:8", Path: "/"}
			}),
		},
		{
			"identity binding", "",
			environment("AZURE_KUBERNETES_TOKEN_PROXY=https://p", "AZURE_KUBERNETES_SNI_NAME=s", "AZURE_KUBERNETES_CA_FILE=/f", "AZURE_KUBERNETES_CA_DATA=d"),
			defaults(func(o *options) {
				o.exchange.TokenProxy = entra.TokenProxy{URL: "https://p", SNIName: "s", CAFile: "/f", CAData: "d"}
			}),
		},
		{
			"probe needs no identity", "--probe --probe-timeout=1s --wait-for-token=2s --wait-for-resource=r", func(string) string { return "" },
			options{port: 8000, probe: true, probeTimeout: time.Second, waitForToken: 2 * time.Second, waitResource: "r", grace: 2 * time.Minute},
		},
		{
			"probe of the public cloud", "--probe", func(string) string { return "" },
			options{port: 8000, probe: true, probeTimeout: 30 * time.Second, waitResource: "https://management.azure.com", grace: 2 * time.Minute},
		},
		{
			"probe of China, without the slash", "--probe", environment("AZURE_AUTHORITY_HOST=https://login.chinacloudapi.cn"),
			options{
				port: 8000, probe: true, probeTimeout: 30 * time.Second, waitResource: "https://management.chinacloudapi.cn", grace: 2 * time.Minute,
				exchange: entra.ExchangerConfig{AuthorityHost: "https://login.chinacloudapi.cn"},
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parse(strings.Fields(tt.args), tt.getenv, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(options{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestInitOptions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		args string
		env  string
		want initOptions
	}{
		{"defaults", "", "", initOptions{redirect: redirect.Config{Port: 8000, UID: 1501}}},
		{"port of the environment", "", "8001", initOptions{redirect: redirect.Config{Port: 8001, UID: 1501}}},
		{"flags first", "--proxy-port=9 --proxy-uid=7 --log-level=warn", "8001", initOptions{logLevel: slog.LevelWarn, redirect: redirect.Config{Port: 9, UID: 7}}},
		{"remove", "--remove", "", initOptions{remove: true, redirect: redirect.Config{Port: 8000, UID: 1501}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseInit(strings.Fields(tt.args), environment("PROXY_PORT="+tt.env), io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(initOptions{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMistakesAreTold(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args   string
		getenv func(string) string
		want   string
	}{
		{"--no-such-flag", environment(), "flag provided but not defined: -no-such-flag"},
		{"serve", environment(), `unexpected argument "serve": all settings are flags or environment variables`},
		{"--log-level=loud", environment(), "debug, trace or all"},
		{"--proxy-port=65536", environment(), "--proxy-port 65536: use 1 to 65535"},
		{"--proxy-port=-1", environment(), "--proxy-port -1: use 1 to 65535"},
		{"--compat=v1.5", environment(), `--compat "v1.5": v1.6 is the only one`},
		{"--wait-for-token=1s", environment(), "--wait-for-token needs --probe"},
		{"--drain-delay=-1s", environment(), "--drain-delay -1s: use 0s to 1h0m0s"},
		{"--drain-delay=61m", environment(), "--drain-delay 1h1m0s: use 0s to 1h0m0s"},
		{"--imds-url=https://169.254.169.254", environment(), `--imds-url "https://169.254.169.254": write http://HOST[:PORT]`},
		{"--imds-url=http://h/path", environment(), `--imds-url "http://h/path": write http://HOST[:PORT]`},
		{"--imds-url=http://", environment(), `--imds-url "http://": write http://HOST[:PORT]`},
		{"--proxy-mode=both", environment(), `--proxy-mode "both": use redirect or env`},
		{"--proxy-mode=env", environment(), "--proxy-mode=env needs the pod's UID in AZWI_POD_UID"},
		{"--identity=x", environment(), "--identity: "},
		{"--allow-client-id=a/b", environment(), `--allow-client-id "a/b" is not a client ID`},
		{"", environment("AZURE_TENANT_ID="), "AZURE_TENANT_ID is missing or not a tenant ID: set it to the ID of your tenant"},
		{"", environment("AZURE_CLIENT_ID=../x"), "AZURE_CLIENT_ID is not a client ID: correct the service account's annotation"},
		{"", environment("AZURE_FEDERATED_TOKEN_FILE="), "AZURE_FEDERATED_TOKEN_FILE is not set: the pod lacks the label azure.workload.identity/use=true"},
		{"--probe --proxy-port=70000", environment(), "--proxy-port 70000: use 1 to 65535"},
		{"init --no-such-flag", environment(), "flag provided but not defined: -no-such-flag"},
		{"init now", environment(), `unexpected argument "now"`},
		{"init --proxy-port=0", environment(), "--proxy-port 0: use 1 to 65535"},
		{"init --proxy-uid=0", environment(), "--proxy-uid must be above 0: root's traffic has to be redirected too"},
		{"init --log-level=loud", environment(), "debug, trace or all"},
		{"init", environment("PROXY_PORT=http"), `PROXY_PORT "http": use a port, 1 to 65535`},
	} {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			if code := run(strings.Fields(tt.args), tt.getenv, &out, &errs); code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			if text := unwrapped(errs.String()); !strings.Contains(text, tt.want) {
				t.Errorf("got %q, want %q", text, tt.want)
			}
			if out.Len() > 0 {
				t.Errorf("data %q", &out)
			}
		})
	}
}

// All mistakes are told at once.
func TestMistakesTogether(t *testing.T) {
	t.Parallel()
	var errs bytes.Buffer
	if code := run([]string{"--drain-delay=-1s", "--proxy-mode=both", "extra"}, environment("AZURE_TENANT_ID="), io.Discard, &errs); code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	for _, want := range []string{"--drain-delay", "--proxy-mode", `"extra"`, "AZURE_TENANT_ID"} {
		if !strings.Contains(errs.String(), want) {
			t.Errorf("nothing of %s in %q", want, &errs)
		}
	}
}

// unwrapped is a text for people in one line, as it is broken at a terminal's width.
func unwrapped(text string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(text, "azwi-proxy: ", "")), " ")
}

func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	type result struct {
		Code     int
		Out, Err string
	}
	for _, tt := range []struct {
		args string
		want result
	}{
		{"--version", result{0, version.String() + "\n", ""}},
		{"--help", result{0, "", "Usage: azwi-proxy [flags]           serve tokens"}},
		{"init --help", result{0, "", "Usage of azwi-proxy init:"}},
	} {
		var out, errs bytes.Buffer
		code := run(strings.Fields(tt.args), environment(), &out, &errs)
		first, _, _ := strings.Cut(errs.String(), "\n")
		if diff := cmp.Diff(tt.want, result{code, out.String(), first}); diff != "" {
			t.Errorf("%s: %s", tt.args, diff)
		}
	}
}
