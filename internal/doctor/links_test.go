package doctor

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"azwi/internal/finding"
	"azwi/internal/token/entra"
)

// examine makes an examination that stands before one of the last links.
func examine(c Config, issuer string) *examination {
	x := &examination{Config: New(c).config, report: &Report{}, subject: &subject{namespace: "shop", account: "orders"}}
	x.clientID, x.tenantID = "33333333-0000-4000-8000-000000000002", "11111111-1111-1111-1111-111111111111"
	x.token = token{raw: "a.b.c", keyID: "key-1", issuer: issuer, subject: "system:serviceaccount:shop:orders", audience: "api://AzureADTokenExchange"}
	for _, name := range []LinkName{LinkAccount, LinkIdentity, LinkCredential, LinkIssuer} {
		x.report.Links = append(x.report.Links, Link{Name: name, State: OK})
	}
	return x
}

// exchanger asks a server that stands in for Entra.
func exchanger(t *testing.T, handler http.HandlerFunc) *entra.Exchanger {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	x, err := entra.NewExchanger(entra.ExchangerConfig{AuthorityHost: server.URL, ExtraCAFile: file})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestEveryCode has Entra answer each code that is known, with an identity whose credential
// is right, and with one whose credential is not.
func TestEveryCode(t *testing.T) {
	t.Parallel()
	for _, known := range finding.AADSTSCodes() {
		for _, code := range known.Codes {
			ex := exchanger(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprintf(w, `{"error": "invalid_client", "error_description": "AADSTS%d: no.", "error_codes": [%d]}`, code, code)
			})
			for _, federated := range []bool{false, true} {
				x := examine(Config{Exchanger: ex}, "https://issuer.example")
				x.federated = federated
				link := Link{Name: LinkExchange}
				x.exchange(t.Context(), &link)
				want := finding.CodeExchangeRefused
				if federated && known.Class == finding.Replication {
					want = finding.CodeCredentialSpreads
				}
				if link.State != Wrong || !link.has(want) {
					t.Errorf("AADSTS%d, federated %t: %+v", code, federated, link)
					continue
				}
				f := link.Findings[0]
				if want == finding.CodeExchangeRefused && (!strings.Contains(f.Text(), fmt.Sprintf("AADSTS%d: ", code)) || f.Command() != fmt.Sprintf("azwi explain AADSTS%d", code)) {
					t.Errorf("AADSTS%d: %s; %s", code, f.Text(), f.Command())
				}
			}
		}
	}
}

// TestExplains: a broken link is the cause of the answers that it leads to, and of no others.
func TestExplains(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		wrong LinkName
		code  int
		cause LinkName
	}{
		{LinkAccount, finding.AADSTSUnknownClient, LinkAccount},
		{LinkIdentity, finding.AADSTSNoPrincipal, LinkIdentity},
		{LinkCredential, finding.AADSTSNoSubject, LinkCredential},
		{LinkCredential, finding.AADSTSSubjectCase, LinkCredential},
		{LinkCredential, finding.AADSTSUnknownTenant, ""},
		{LinkIssuer, finding.AADSTSIssuerUnreachable, LinkIssuer},
		{LinkIssuer, finding.AADSTSNoSubject, ""},
		{"", finding.AADSTSNoSubject, ""},
	} {
		x := examine(Config{}, "https://issuer.example")
		if l := x.report.Link(tt.wrong); l != nil {
			l.State = Wrong
		}
		if got := x.explains(&entra.Error{Code: tt.code}); got != tt.cause {
			t.Errorf("%s is wrong, AADSTS%d: cause %q, want %q", tt.wrong, tt.code, got, tt.cause)
		}
	}
}

// TestNoAnswer: a token service that can't be reached is told as that, and no token is in it.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	x := examine(Config{Exchanger: exchanger(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })}, "https://issuer.example")
	link := Link{Name: LinkExchange}
	x.exchange(t.Context(), &link)
	if link.State != Wrong || !link.has(finding.CodeAzureUnreachable) || strings.Contains(fmt.Sprintf("%+v", link), "a.b.c") {
		t.Errorf("%+v", link)
	}
}

// TestIssuer tells what is wrong with what an issuer publishes.
func TestIssuer(t *testing.T) {
	t.Parallel()
	const key = `{"kty":"RSA","use":"sig","kid":"%s","e":"AQAB","n":"%s"}`
	modulus := strings.Repeat("_", 342) + "w" // 2056 bits, of which nobody knows the factors
	document := func(issuer string) string {
		return fmt.Sprintf(`{"issuer": %q, "jwks_uri": %q}`, issuer, issuer+"/keys")
	}
	keys := func(id string) string { return `{"keys": [` + fmt.Sprintf(key, id, modulus) + `]}` }
	for name, tt := range map[string]struct {
		document, keys func(url string) string
		status         int
		code           finding.Code
		says           string
	}{
		"healthy":                {document, func(string) string { return keys("key-1") }, 0, "", ""},
		"rotated":                {document, func(string) string { return keys("key-0") }, 0, finding.CodeIssuerKeyMissing, `"key-0"`},
		"no RSA key":             {document, func(string) string { return `{"keys": [{"kty": "EC"}]}` }, 0, finding.CodeIssuerKeyMissing, "no key that Entra takes"},
		"names another":          {func(url string) string { return strings.Replace(document(url), url, url+"/", 1) }, nil, 0, finding.CodeIssuerNamesOther, ""},
		"ends in a slash":        {func(url string) string { return fmt.Sprintf(`{"issuer": %q, "jwks_uri": %q}`, url+"/", url+"/keys") }, func(string) string { return keys("key-1") }, 0, finding.CodeIssuerNamesOther, "the document ends in a slash"},
		"keys at a private http": {func(url string) string { return fmt.Sprintf(`{"issuer": %q, "jwks_uri": "http://10.0.0.1/keys"}`, url) }, nil, 0, finding.CodeIssuerNotHTTPS, "10.0.0.1"},
		"login page":             {document, nil, http.StatusFound, finding.CodeIssuerRedirected, "without a sign-in"},
		"not there":              {document, nil, http.StatusForbidden, finding.CodeIssuerNotServed, "403"},
		"a page":                 {func(string) string { return "<html>" }, nil, 0, finding.CodeIssuerNotServed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var server *httptest.Server
			server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case tt.status != 0:
					w.Header().Set("Location", "https://login.example/")
					w.WriteHeader(tt.status)
				case r.URL.Path == "/keys" && tt.keys != nil:
					fmt.Fprint(w, tt.keys(server.URL))
				default:
					fmt.Fprint(w, tt.document(server.URL))
				}
			}))
			t.Cleanup(server.Close)
			x := examine(Config{Issuers: *server.Client()}, server.URL)
			link := Link{Name: LinkIssuer}
			x.issuer(t.Context(), &link)
			if tt.code == "" && len(link.Findings) > 0 || tt.code != "" && !link.has(tt.code) {
				t.Fatalf("%+v", link)
			}
			if tt.code != "" && !strings.Contains(link.Findings[0].Text(), tt.says) {
				t.Errorf("%s: it does not say %q", link.Findings[0].Text(), tt.says)
			}
		})
	}
}

// TestIssuerFromHere: certificates that are not trusted here, and issuers that can't be
// reached from here, are no error if Entra does not complain of them.
func TestIssuerFromHere(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	for _, tt := range []struct {
		exchange Link
		want     State
	}{
		{Link{Name: LinkExchange, State: OK}, Unknown},
		{Link{Name: LinkExchange, State: Unknown}, Unknown},
		{Link{Name: LinkExchange, State: Wrong, Findings: []finding.Finding{finding.ExchangeRefused(finding.AADSTSIssuerUnreachable, "", finding.Presented{})}}, Wrong},
	} {
		x := examine(Config{}, server.URL)
		link := Link{Name: LinkIssuer}
		x.issuer(t.Context(), &link)
		if !link.has(finding.CodeIssuerUnreachable) {
			t.Fatalf("%+v", link)
		}
		x.report.Links = []Link{link, tt.exchange}
		x.reconcile()
		if got := x.report.Link(LinkIssuer); got.State != tt.want || (got.State == Wrong) != (len(got.Findings) > 0) {
			t.Errorf("exchange %s: %+v, want %s", tt.exchange.State, got, tt.want)
		}
	}
}

// TestStrip: a pod without what injection added can be injected again.
func TestStrip(t *testing.T) {
	t.Parallel()
	const injected = `{"metadata": {"annotations": {"azure.workload.identity/injected-for": "orders", "own": "1"}}, "spec": {"nodeName": "n",
		"containers": [{"name": "app", "env": [{"name": "AZURE_CLIENT_ID", "value": "x"}, {"name": "OWN", "value": "1"}],
			"volumeMounts": [{"name": "azure-workload-identity-reserved-token"}, {"name": "own"}, {"name": "kube-api-access-x"}]}],
		"initContainers": [{"name": "azwi-proxy-init"}, {"name": "azwi-proxy"}, {"name": "own"}],
		"volumes": [{"name": "azure-workload-identity-reserved-token", "projected": {}}, {"name": "own"}, {"name": "kube-api-access-x"}]}}`
	const want = `{"metadata":{"annotations":{"own":"1"}},"spec":{"containers":[{"env":[{"name":"OWN","value":"1"}],"name":"app","volumeMounts":[{"name":"own"}]}],` +
		`"initContainers":[{"env":null,"name":"own","volumeMounts":null}],"volumes":[{"name":"own"}]}}`
	var pod object
	if err := json.Unmarshal([]byte(injected), &pod); err != nil {
		t.Fatal(err)
	}
	strip(pod)
	if got, err := json.Marshal(pod); err != nil || string(got) != want {
		t.Errorf("%s %v", got, err)
	}
}

// TestReachesIMDS: a rule without a destination allows the metadata service, and so does a
// network that has it.
func TestReachesIMDS(t *testing.T) {
	t.Parallel()
	for rule, want := range map[string]bool{
		`{}`: true,
		`{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}`:                                      true,
		`{"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.169.254/32"]}}]}`:    false,
		`{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}, {"podSelector": {}}]}`:                false,
		`{"to": [{"podSelector": {}}, {"ipBlock": {"cidr": "169.254.0.0/16"}}]}`:            true,
		`{"to": [{"ipBlock": {"cidr": "169.254.0.0/16", "except": ["169.254.169.0/24"]}}]}`: false,
		`{"to": [{"ipBlock": {"cidr": "nonsense"}}]}`:                                       false,
	} {
		var r egressRule
		if err := json.Unmarshal([]byte(rule), &r); err != nil {
			t.Fatal(err)
		}
		if got := reachesIMDS(r); got != want {
			t.Errorf("%s: %t", rule, got)
		}
	}
}

// TestUnknownIsNotAPass: what could not be looked at is told apart by its reason, unless an
// exchange proves the chain.
func TestUnknownIsNotAPass(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		why            error
		exchange       State
		denied, failed bool
	}{
		{errors.New("connection refused"), NotReached, false, true},
		{errors.New("connection refused"), OK, false, false},
		{finding.PodsNotCreatable("shop").Err(nil), NotReached, true, false},
		{finding.PodsNotCreatable("shop").Err(nil), OK, false, false},
		{errSkipped("no token was requested"), NotReached, false, false},
	} {
		link := Link{Name: LinkToken}
		link.unknown(tt.why)
		r := Report{Links: []Link{link, {Name: LinkExchange, State: tt.exchange}}}
		if link.State != Unknown || r.Denied() != tt.denied || r.Failed() != tt.failed {
			t.Errorf("%v, exchange %s: %+v, denied %t, failed %t", tt.why, tt.exchange, link, r.Denied(), r.Failed())
		}
	}
}
