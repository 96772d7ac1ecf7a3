package inject_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"azwi/contract"
	"azwi/internal/finding"
	"azwi/internal/pod/inject"
	"azwi/internal/pod/inject/injecttest"
)

// seen is the part of a pod that the contract speaks of.
type seen struct {
	Spec struct {
		InitContainers []seenContainer `json:"initContainers"`
		Containers     []seenContainer `json:"containers"`
		Volumes        []struct {
			Name      string `json:"name"`
			Projected struct {
				Sources []struct {
					ServiceAccountToken struct {
						Audience          string `json:"audience"`
						ExpirationSeconds int64  `json:"expirationSeconds"`
						Path              string `json:"path"`
					} `json:"serviceAccountToken"`
				} `json:"sources"`
			} `json:"projected"`
		} `json:"volumes"`
	} `json:"spec"`
}

type seenContainer struct {
	Name            string            `json:"name"`
	Image           string            `json:"image"`
	ImagePullPolicy string            `json:"imagePullPolicy"`
	RestartPolicy   string            `json:"restartPolicy"`
	Args            []string          `json:"args"`
	Env             []map[string]any  `json:"env"`
	VolumeMounts    []seenMount       `json:"volumeMounts"`
	Resources       inject.Resources  `json:"resources"`
	Lifecycle       map[string]any    `json:"lifecycle"`
	SecurityContext map[string]any    `json:"securityContext"`
	Unknown         map[string]string `json:"unknown"`
}

type seenMount struct {
	Name      string `json:"name"`
	MountPath string `json:"mountPath"`
	ReadOnly  bool   `json:"readOnly"`
}

func (c seenContainer) env() map[string]string {
	m := map[string]string{}
	for _, e := range c.Env {
		value, _ := e["value"].(string)
		m[e["name"].(string)] = value
	}
	return m
}

func (s seen) container(name string) seenContainer {
	for _, c := range slices.Concat(s.Spec.InitContainers, s.Spec.Containers) {
		if c.Name == name {
			return c
		}
	}
	return seenContainer{}
}

func (s seen) order() string {
	var names []string
	for _, c := range slices.Concat(s.Spec.InitContainers, s.Spec.Containers) {
		names = append(names, c.Name)
	}
	return strings.Join(names, " ")
}

// TestContract has a row for every row of docs/contract.md's tables on injection.
func TestContract(t *testing.T) {
	t.Parallel()
	const clientID, tenantID = "22222222-2222-2222-2222-222222222222", "11111111-1111-1111-1111-111111111111"
	binding := contract.CustomTokenEndpointPrefix + "identity-binding"
	customEndpoint := func(s *inject.Settings) {
		s.CustomTokenEndpoint = inject.CustomTokenEndpoint{Annotation: binding, Audience: "api://AKSIdentityBinding", TokenProxy: "https://p", SNIName: "sni"}
	}
	type row struct {
		name        string
		labels      map[string]string // default: opted in
		annotations map[string]string
		account     map[string]string // annotations beside client-id
		settings    func(*inject.Settings)
		denied      finding.Code
		warned      finding.Code
		check       func(seen) (got, want any)
	}
	appEnv := func(key, want string) func(seen) (any, any) {
		return func(s seen) (any, any) { return s.container("app").env()[key], want }
	}
	token := func(s seen) any {
		for _, v := range s.Spec.Volumes {
			if v.Name == contract.TokenVolume {
				return v.Projected.Sources[0].ServiceAccountToken
			}
		}
		return nil
	}
	expiration := func(want int64) func(seen) (any, any) {
		return func(s seen) (any, any) {
			return s.Spec.Volumes[0].Projected.Sources[0].ServiceAccountToken.ExpirationSeconds, want
		}
	}
	proxy := map[string]string{contract.InjectProxyAnnotation: "true"}
	with := func(m map[string]string, kv ...string) map[string]string {
		m = maps.Clone(m)
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = kv[i+1]
		}
		return m
	}
	rows := []row{
		{name: "use label opts in", check: appEnv(contract.EnvClientID, clientID)},
		{name: "use label absent", labels: map[string]string{}, check: appEnv(contract.EnvClientID, "")},
		{name: "client-id", check: appEnv(contract.EnvClientID, clientID)},
		{name: "client-id absent: not injected, warned", account: map[string]string{contract.ClientIDAnnotation: ""},
			warned: finding.CodeClientIDMissing, check: func(s seen) (any, any) {
				_, set := s.container("app").env()[contract.EnvClientID]
				return set, false
			}},
		{name: "client-id no GUID: warned, never refused", account: map[string]string{contract.ClientIDAnnotation: "000-0000-0000-0000"},
			warned: finding.CodeClientIDNotGUID, check: appEnv(contract.EnvClientID, "000-0000-0000-0000")},
		{name: "tenant-id default", check: appEnv(contract.EnvTenantID, tenantID)},
		{name: "tenant-id of the account", account: map[string]string{contract.TenantIDAnnotation: "other"}, check: appEnv(contract.EnvTenantID, "other")},
		{name: "expiration default", check: expiration(3600)},
		{name: "expiration lowest", annotations: map[string]string{contract.TokenExpirationAnnotation: "3600"}, check: expiration(3600)},
		{name: "expiration highest", annotations: map[string]string{contract.TokenExpirationAnnotation: "86400"}, check: expiration(86400)},
		{name: "expiration below", annotations: map[string]string{contract.TokenExpirationAnnotation: "3599"}, denied: finding.CodeTokenExpiration},
		{name: "expiration above", annotations: map[string]string{contract.TokenExpirationAnnotation: "86401"}, denied: finding.CodeTokenExpiration},
		{name: "expiration of pod before account", annotations: map[string]string{contract.TokenExpirationAnnotation: "4000"},
			account: map[string]string{contract.TokenExpirationAnnotation: "5000"}, check: expiration(4000)},
		{name: "skip-containers", annotations: map[string]string{contract.SkipContainersAnnotation: "; app ;setup;"}, check: func(s seen) (any, any) {
			return []int{len(s.container("app").Env), len(s.container("setup").Env), len(s.container("other").Env)}, []int{1, 0, 4}
		}},
		{name: "init containers too", check: func(s seen) (any, any) { return len(s.container("setup").env()), 4 }},
		{name: "env of the author stays", check: appEnv("AZURE_AUTHORITY_HOST", "https://authors.own")},
		{name: "authority host with its trailing slash", check: func(s seen) (any, any) {
			return s.container("other").env()[contract.EnvAuthorityHost], "https://login.microsoftonline.com/"
		}},
		{name: "inject-proxy-sidecar absent", check: func(s seen) (any, any) { return s.order(), "setup app other" }},
		{name: "inject-proxy-sidecar false", annotations: map[string]string{contract.InjectProxyAnnotation: "false"},
			check: func(s seen) (any, any) { return s.order(), "setup app other" }},
		{name: "inject-proxy-sidecar no boolean", annotations: map[string]string{contract.InjectProxyAnnotation: "enabled"}, warned: finding.CodeProxyNotBoolean,
			check: func(s seen) (any, any) { return s.order(), "azwi-proxy-init azwi-proxy setup app other" }},
		{name: "proxy, native sidecar", annotations: proxy, check: func(s seen) (any, any) { return s.order(), "azwi-proxy-init azwi-proxy setup app other" }},
		{name: "proxy, native sidecar restarts", annotations: proxy, check: func(s seen) (any, any) { return s.container("azwi-proxy").RestartPolicy, "Always" }},
		{name: "proxy, no native sidecar", annotations: proxy, settings: func(s *inject.Settings) { s.Proxy.NativeSidecar = false },
			check: func(s seen) (any, any) { return s.order(), "setup azwi-proxy-init azwi-proxy app other" }},
		{name: "proxy-sidecar-port default", annotations: proxy, check: func(s seen) (any, any) {
			return []any{s.container("azwi-proxy").Args, s.container("azwi-proxy-init").env()},
				[]any{[]string{"--proxy-port=8000", "--log-level=info"}, map[string]string{"PROXY_PORT": "8000"}}
		}},
		{name: "proxy-sidecar-port", annotations: with(proxy, contract.ProxyPortAnnotation, "65535"), check: func(s seen) (any, any) {
			return []any{s.container("azwi-proxy").Args[0], s.container("azwi-proxy-init").env()["PROXY_PORT"]}, []any{"--proxy-port=65535", "65535"}
		}},
		{name: "proxy-sidecar-port below", annotations: with(proxy, contract.ProxyPortAnnotation, "0"), denied: finding.CodeProxyPort},
		{name: "proxy-sidecar-port above", annotations: with(proxy, contract.ProxyPortAnnotation, "65536"), denied: finding.CodeProxyPort},
		{name: "proxy log level", annotations: proxy, settings: func(s *inject.Settings) { s.Proxy.LogLevel = "debug" },
			check: func(s seen) (any, any) { return s.container("azwi-proxy").Args[1], "--log-level=debug" }},
		{name: "proxy post-start probe", annotations: proxy, check: func(s seen) (any, any) {
			raw, _ := json.Marshal(s.container("azwi-proxy").Lifecycle)
			return string(raw), `{"postStart":{"exec":{"command":["/azwi-proxy","--probe","--proxy-port=8000","--log-level=info"]}}}`
		}},
		{name: "sidecar security", annotations: proxy, check: func(s seen) (any, any) {
			raw, _ := json.Marshal(s.container("azwi-proxy").SecurityContext)
			return string(raw), `{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]},"privileged":false,"readOnlyRootFilesystem":true,"runAsGroup":1501,"runAsNonRoot":true,"runAsUser":1501,"seccompProfile":{"type":"RuntimeDefault"}}`
		}},
		{name: "redirect has NET_ADMIN and nothing else", annotations: proxy, check: func(s seen) (any, any) {
			raw, _ := json.Marshal(s.container("azwi-proxy-init").SecurityContext)
			return string(raw), `{"allowPrivilegeEscalation":false,"capabilities":{"add":["NET_ADMIN"],"drop":["ALL"]},"privileged":false,"readOnlyRootFilesystem":true,"runAsGroup":0,"runAsNonRoot":false,"runAsUser":0,"seccompProfile":{"type":"RuntimeDefault"}}`
		}},
		{name: "sidecar has the app's env and volume", annotations: proxy, check: func(s seen) (any, any) {
			c := s.container("azwi-proxy")
			return []any{c.env(), c.VolumeMounts[0]}, []any{s.container("other").env(), s.container("other").VolumeMounts[0]}
		}},
		{name: "redirect has no identity and no token", annotations: proxy, check: func(s seen) (any, any) {
			c := s.container("azwi-proxy-init")
			return []any{len(c.Env), c.VolumeMounts}, []any{1, []seenMount{{contract.EmptyVolume, contract.APITokenMountPath, true}}}
		}},
		{name: "no API server token in the sidecar", annotations: proxy, check: func(s seen) (any, any) {
			return s.container("azwi-proxy").VolumeMounts[1], seenMount{contract.EmptyVolume, contract.APITokenMountPath, true}
		}},
		{name: "env mode: no init container", annotations: with(proxy, contract.ProxyModeAnnotation, "env"), check: func(s seen) (any, any) {
			return s.order(), "azwi-proxy setup app other"
		}},
		{name: "env mode: the endpoint's variables", annotations: with(proxy, contract.ProxyModeAnnotation, "env", contract.ProxyPortAnnotation, "8100"), check: func(s seen) (any, any) {
			got := map[string]string{}
			for name, value := range s.container("other").env() {
				if !strings.HasPrefix(name, "AZURE_") {
					got[name] = value
				}
			}
			const url = "http://127.0.0.1:8100/$(AZWI_POD_UID)/msi/token"
			return got, map[string]string{"AZWI_POD_UID": "", "IDENTITY_ENDPOINT": url, "IDENTITY_HEADER": "$(AZWI_POD_UID)", "MSI_ENDPOINT": url, "MSI_SECRET": "$(AZWI_POD_UID)"}
		}},
		{name: "env mode: sidecar passes Pod Security restricted", annotations: with(proxy, contract.ProxyModeAnnotation, "env"), check: func(s seen) (any, any) {
			raw, _ := json.Marshal(s.container("azwi-proxy").SecurityContext)
			return string(raw), `{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]},"privileged":false,"readOnlyRootFilesystem":true,"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}}`
		}},
		{name: "unknown mode", annotations: with(proxy, contract.ProxyModeAnnotation, "x"), denied: finding.CodeProxyMode},
		{name: "requests and limits", annotations: proxy, check: func(s seen) (any, any) {
			var missing []string
			for _, name := range []string{"azwi-proxy", "azwi-proxy-init"} {
				r := s.container(name).Resources
				for _, q := range []string{"cpu", "memory"} {
					if r.Requests[q] == "" || r.Limits[q] == "" {
						missing = append(missing, name+" "+q)
					}
				}
			}
			return missing, []string(nil)
		}},
		{name: "pull policy and one image", annotations: proxy, check: func(s seen) (any, any) {
			a, b := s.container("azwi-proxy"), s.container("azwi-proxy-init")
			return []string{a.ImagePullPolicy, b.ImagePullPolicy, b.Image}, []string{"IfNotPresent", "IfNotPresent", a.Image}
		}},
		{name: "token volume", check: func(s seen) (any, any) {
			raw, _ := json.Marshal(token(s))
			return string(raw), `{"audience":"api://AzureADTokenExchange","expirationSeconds":3600,"path":"token/azure-identity-token"}`
		}},
		{name: "audience", settings: func(s *inject.Settings) { s.Audience = "api://AzureADTokenExchangeChina" }, check: func(s seen) (any, any) {
			return s.Spec.Volumes[0].Projected.Sources[0].ServiceAccountToken.Audience, "api://AzureADTokenExchangeChina"
		}},
		{name: "read-only mount", check: func(s seen) (any, any) {
			return s.container("app").VolumeMounts, []seenMount{{contract.TokenVolume, "/var/run/secrets/azure/wi", true}}
		}},
		{name: "v1.6.0 token file", check: appEnv(contract.EnvFederatedTokenFile, "/var/run/secrets/azure/wi/token/azure-identity-token")},
		{name: "v1.5.1 token file", settings: func(s *inject.Settings) { s.Layout = inject.LayoutV15 },
			check: appEnv(contract.EnvFederatedTokenFile, "/var/run/secrets/azure/tokens/azure-identity-token")},
		{name: "both: newer token file, both volumes", settings: func(s *inject.Settings) { s.Layout = inject.LayoutBoth }, check: func(s seen) (any, any) {
			return []any{s.container("app").env()[contract.EnvFederatedTokenFile], s.Spec.Volumes[0].Name, s.Spec.Volumes[1].Name},
				[]any{"/var/run/secrets/azure/wi/token/azure-identity-token", contract.TokenVolume, "azure-identity-token"}
		}},
		{name: "custom token endpoint", annotations: map[string]string{binding: "true"}, settings: customEndpoint, check: func(s seen) (any, any) {
			e := s.container("app").env()
			_, file := e[contract.EnvCAFile]
			return []any{e[contract.EnvTokenProxy], e[contract.EnvSNIName], file, s.Spec.Volumes[0].Projected.Sources[0].ServiceAccountToken.Audience},
				[]any{"https://p", "sni", false, "api://AKSIdentityBinding"}
		}},
		{name: "custom token endpoint not asked for", settings: customEndpoint, check: appEnv(contract.EnvTokenProxy, "")},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			labels := r.labels
			if labels == nil {
				labels = map[string]string{contract.UseLabel: contract.UseLabelValue}
			}
			raw, err := json.Marshal(map[string]any{
				"metadata": map[string]any{"name": "orders-1", "labels": labels, "annotations": r.annotations},
				"spec": map[string]any{
					"initContainers": []any{map[string]any{"name": "setup", "image": "a"}},
					"containers": []any{
						map[string]any{"name": "app", "image": "a", "env": []any{map[string]any{"name": "AZURE_AUTHORITY_HOST", "value": "https://authors.own"}}},
						map[string]any{"name": "other", "image": "b"},
					},
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			account := inject.Account{Namespace: "shop", Name: "orders", Annotations: map[string]string{contract.ClientIDAnnotation: clientID}}
			maps.Copy(account.Annotations, r.account)
			settings := injecttest.Settings()
			if r.settings != nil {
				r.settings(&settings)
			}
			res := mustInject(t, raw, account, settings)

			var denied finding.Code
			if res.Denial != nil {
				denied = res.Denial.Code()
			}
			if denied != r.denied {
				t.Fatalf("denied %q, want %q", denied, r.denied)
			}
			var warned finding.Code
			for _, w := range res.Warnings {
				warned = w.Code()
			}
			if warned != r.warned {
				t.Errorf("warned %q, want %q", warned, r.warned)
			}
			if r.check == nil {
				return
			}
			var s seen
			if err := json.Unmarshal(apply(t, raw, res.Patch), &s); err != nil {
				t.Fatal(err)
			}
			got, want := r.check(s)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestProxyOnHostNetworkIsDenied: no proxy in a pod on the host's network, whether or not
// its containers are there already.
func TestProxyOnHostNetworkIsDenied(t *testing.T) {
	t.Parallel()
	raw := []byte(`{"metadata":{"labels":{"azure.workload.identity/use":"true"},"annotations":{"azure.workload.identity/inject-proxy-sidecar":"true"}},
		"spec":{"hostNetwork":true,"initContainers":[{"name":"azwi-proxy-init"},{"name":"azwi-proxy"}],"containers":[{"name":"app"}]}}`)
	res := mustInject(t, raw, inject.Account{}, injecttest.Settings())
	if res.Denial == nil || res.Denial.Code() != finding.CodeHostNetwork {
		t.Fatalf("got %+v", res)
	}
}

// TestParseRefuses what the API server never sends, by name.
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		``:                                  "unexpected end",
		`[]`:                                "cannot unmarshal",
		`{}`:                                "no spec",
		`{"spec":{"containers":[null]}}`:    "container is null",
		`{"spec":{"volumes":[null]}}`:       "volumes[0] is null",
		`{"spec":{"containers":"app"}}`:     "spec.containers",
		`{"metadata":{"labels":{"a":1}}}`:   "metadata.labels",
		`{"spec":{"volumes":[{"name":1}]}}`: "volumes[0]",
	} {
		if _, err := inject.Parse([]byte(raw)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", raw, err, want)
		}
	}
}

// TestWarningsFitTheAPIServer, which cuts each at 256 bytes.
func TestWarningsFitTheAPIServer(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 200)
	labels := map[string]string{contract.UseLabel: "true"}
	annotations := map[string]string{
		contract.Prefix + "service-account-token-expirations": "", contract.InjectProxyAnnotation: long,
		contract.SkipContainersAnnotation: long,
	}
	raw, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels, "annotations": annotations}, "spec": map[string]any{}})
	if err != nil {
		t.Fatal(err)
	}
	res := mustInject(t, raw, inject.Account{Namespace: long, Name: long, Annotations: map[string]string{contract.ClientIDAnnotation: long}}, injecttest.Settings())
	if len(res.Warnings) != 4 {
		t.Errorf("got %d warnings: %+v", len(res.Warnings), res.Warnings)
	}
	for _, w := range res.Warnings {
		if len(w.Text()) > 256 {
			t.Errorf("%d bytes: %s", len(w.Text()), w.Text())
		}
	}
}
