package main

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"azwi/contract"
	"azwi/internal/version"
)

func tenantOnly(key string) string {
	if key == "AZURE_TENANT_ID" {
		return "t"
	}
	return ""
}

func TestVersion(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"-version", "--version"} {
		var out, errs bytes.Buffer
		if code := run([]string{flag}, tenantOnly, &out, &errs); code != 0 || out.String() != version.String()+"\n" || errs.Len() != 0 {
			t.Errorf("%s: exit code %d, %q, %q", flag, code, &out, &errs)
		}
	}
}

// TestUpstreamFlags: everything that upstream's manifests pass is taken.
func TestUpstreamFlags(t *testing.T) {
	t.Parallel()
	o, err := parse([]string{
		"--audience=api://AzureADTokenExchange", "--webhook-cert-dir=/certs", "--disable-cert-rotation", "--tls-min-version=1.2",
		"--health-addr=:9440", "-metrics-addr", ":8095", "--metrics-backend=prometheus", "--log-level=debug", "--drain-delay=0s",
	}, tenantOnly, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	if o.server.MinTLS != tls.VersionTLS12 {
		t.Errorf("TLS %#x", o.server.MinTLS)
	}
	if o.logLevel != slog.LevelDebug {
		t.Errorf("log level %s", o.logLevel)
	}
	if o.settings.Proxy.LogLevel != "debug" {
		t.Errorf("the proxy's log level %q", o.settings.Proxy.LogLevel)
	}
	if o.server.DrainDelay >= time.Nanosecond {
		t.Errorf("drain delay %s", o.server.DrainDelay)
	}
	if o.ownCertificate {
		t.Error("--disable-cert-rotation has no effect")
	}
}

func TestOwnCertificateOptions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, namespace string
		args            []string
		want            certificateOptions
	}{
		{
			name: "defaults",
			want: certificateOptions{
				namespace: "azure-workload-identity-system", secret: "azure-wi-webhook-server-cert",
				configuration: "azure-wi-webhook-mutating-webhook-configuration",
				names:         []string{"azure-wi-webhook-webhook-service.azure-workload-identity-system.svc"},
			},
		},
		{
			name: "chosen", namespace: "identity",
			args: []string{"--cert-secret=s", "--cert-webhook-configuration=c", "--cert-names=a.identity.svc,127.0.0.1"},
			want: certificateOptions{namespace: "identity", secret: "s", configuration: "c", names: []string{"a.identity.svc", "127.0.0.1"}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o, err := parse(test.args, func(key string) string {
				if key == contract.EnvPodNamespace {
					return test.namespace
				}
				return tenantOnly(key)
			}, &bytes.Buffer{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, o.certificate, cmp.AllowUnexported(certificateOptions{})); diff != "" || !o.ownCertificate {
				t.Error(o.ownCertificate, diff)
			}
		})
	}
}

func TestMistakesAreTold(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--tls-min-version=2":       "1.0, 1.1, 1.2 or 1.3",
		"--log-level=loud":          "debug, trace or all",
		"--metrics-backend=statsd":  "prometheus",
		"--client-names=x":          "--client-ca-file",
		"--drain-delay=-1s":         "negative",
		"serve":                     `"serve"`,
		"--no-such-flag":            "no-such-flag",
		"--token-path=elsewhere":    "v1.6.0",
		"--tls-min-version=9 extra": "extra",
	} {
		var out, errs bytes.Buffer
		if code := run(strings.Fields(args), tenantOnly, &out, &errs); code != 2 || !strings.Contains(errs.String(), want) || out.Len() > 0 {
			t.Errorf("%s: exit code %d, %q; want 2 and %q", args, code, &errs, want)
		}
	}
	var errs bytes.Buffer
	if code := run(nil, func(string) string { return "" }, &bytes.Buffer{}, &errs); code != 2 || !strings.Contains(errs.String(), "AZURE_TENANT_ID is required") {
		t.Errorf("no tenant: exit code %d, %q", code, &errs)
	}
	if code := run([]string{"--kubeconfig=/does/not/exist"}, tenantOnly, &bytes.Buffer{}, &errs); code != 1 || !strings.Contains(errs.String(), "/does/not/exist") {
		t.Errorf("no kubeconfig: exit code %d, %q", code, &errs)
	}
}
