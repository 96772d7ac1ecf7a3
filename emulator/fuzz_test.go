package emulator_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"azwi/emulator"
	"azwi/emulator/emulatortest"
)

// checkTokenAnswer holds for every answer to a request with bad input: it is an
// error of the kind that Entra has, and no server error.
func checkTokenAnswer(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	var a tokenAnswer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatalf("%d %q is no JSON: %v", w.Code, w.Body, err)
	}
	if w.Code == http.StatusOK {
		t.Fatal("a token for bad input")
	}
	if (w.Code != http.StatusBadRequest && w.Code != http.StatusUnauthorized) || a.Error == "" || len(a.Codes) != 1 ||
		!strings.HasPrefix(a.Description, fmt.Sprintf("AADSTS%d: ", a.Codes[0])) {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
}

func newFuzzed(f *testing.F) *emulator.Emulator {
	f.Helper()
	e, err := emulator.New(emulator.Config{Seed: []byte(federated("https://issuer.example"))})
	if err != nil {
		f.Fatal(err)
	}
	return e
}

func tokenRequest(form, tenant string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "https://127.0.0.1/", strings.NewReader(form))
	r.URL.Path = "/" + tenant + "/oauth2/v2.0/token"
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func FuzzTokenForm(f *testing.F) {
	e := newFuzzed(f)
	f.Add("grant_type=client_credentials&client_id="+webAppID+"&client_secret=x&scope=y/.default", emulator.DefaultTenantID)
	f.Add(exchange(webAppID, "a.b.c").Encode(), "emulator.onmicrosoft.com")
	f.Add("%zz=;", "common")
	f.Add("grant_type=client_credentials&client_id="+bareAppID+"&client_assertion=x&client_assertion_type=y&scope=", "adfs")
	f.Fuzz(func(t *testing.T, form, tenant string) {
		if values, _ := url.ParseQuery(form); values.Get("client_secret") == webSecret || values.Get("client_secret") == "orphan" {
			t.Skip("that is no bad input")
		}
		w := httptest.NewRecorder()
		e.ServeHTTP(w, tokenRequest(form, tenant))
		if strings.HasSuffix(tenant, "/common/discovery/instance") || strings.Contains(tenant, "/") && w.Code == http.StatusNotFound {
			t.Skip("another endpoint")
		}
		switch first, _, _ := strings.Cut(tenant, "/"); strings.ToLower(first) {
		case "subscriptions", "tenants", "providers", "metadata", "v1.0", "beta", "vaults":
			t.Skip("another service")
		}
		checkTokenAnswer(t, w)
	})
}

// No assertion that the issuer has not signed gets a token.
func FuzzAssertion(f *testing.F) {
	e := newFuzzed(f)
	header := `{"alg":"RS256","kid":"test","typ":"JWT"}`
	f.Add(header, `{"iss":"https://issuer.example","sub":"system:serviceaccount:default:web","aud":"api://AzureADTokenExchange","exp":9999999999}`, "c2ln")
	f.Add(`{"alg":"none"}`, `{"iss":"https://issuer.example","sub":"x","aud":["a","b"],"exp":1,"iat":1e300}`, "")
	f.Add(`{"alg":"RS256","x5t":"AAAA"}`, `{"iss":"`+webAppID+`","sub":"`+webAppID+`","aud":"https://login.microsoftonline.com/","exp":9999999999}`, "AA")
	f.Add(`{"alg":"HS256","crit":["exp"]}`, `{"iss":1}`, "AA")
	f.Fuzz(func(t *testing.T, header, payload, signature string) {
		encode := base64.RawURLEncoding.EncodeToString
		w := httptest.NewRecorder()
		e.ServeHTTP(w, tokenRequest(exchange(webAppID, encode([]byte(header))+"."+encode([]byte(payload))+"."+signature).Encode(), emulator.DefaultTenantID))
		checkTokenAnswer(t, w)
	})
}

// Whatever path and body a resource server gets with a good token, it answers
// with JSON of its own and never with a server error.
func FuzzResourceServers(f *testing.F) {
	e := newFuzzed(f)
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {webAppID}, "client_secret": {webSecret}, "scope": {"https://127.0.0.1/.default"}}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, tokenRequest(form.Encode(), emulator.DefaultTenantID))
	var a tokenAnswer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || a.AccessToken == "" {
		f.Fatalf("no token: %s", w.Body)
	}
	f.Add("GET", "/v1.0/applications(appId='x')/owners", "$filter=a eq 'b", "")
	f.Add("PUT", identitiesPath+"/a/federatedIdentityCredentials/b", "api-version=2024-11-30", `{"properties":null}`)
	f.Add("GET", "/vaults/emulator/secrets/greeting/versions", "api-version=7.5&maxresults=-1", "")
	f.Add("PATCH", "/beta/applications/x/federatedIdentityCredentials(name='y')", "", `[]`)
	f.Add("POST", "/v1.0/directoryObjects/getByIds", "", `{"ids":[1]}`)
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		switch method {
		case "GET", "PUT", "POST", "PATCH", "DELETE":
		default:
			t.Skip("no method")
		}
		first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		switch strings.ToLower(first) {
		case "subscriptions", "tenants", "providers", "v1.0", "beta", "vaults":
		default:
			t.Skip("another service")
		}
		r := httptest.NewRequest(method, "https://127.0.0.1/", strings.NewReader(body))
		r.URL.Path, r.URL.RawQuery = path, query
		r.Header.Set("Authorization", "Bearer "+a.AccessToken)
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		if w.Code >= 500 || (w.Body.Len() > 0 && !json.Valid(w.Body.Bytes())) {
			t.Fatalf("%d %q", w.Code, w.Body)
		}
	})
}

// A token request without a body or a type is refused as any other.
func TestOddTokenRequests(t *testing.T) {
	t.Parallel()
	cloud := emulatortest.Start(t, emulator.Config{})
	for _, tt := range []struct {
		name, method, contentType, body string
		code                            int
	}{
		{"GET", "GET", "", "", 900561},
		{"empty", "POST", "application/x-www-form-urlencoded", "", 900144},
		{"JSON", "POST", "application/json", `{"grant_type":"client_credentials"}`, 900144},
		{"too large", "POST", "application/x-www-form-urlencoded", "grant_type=" + strings.Repeat("x", 300<<10), 900144},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, cloud.AuthorityURL+v2Token, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", tt.contentType)
		client := cloud.Client()
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var a tokenAnswer
		err = json.NewDecoder(resp.Body).Decode(&a)
		resp.Body.Close()
		client.CloseIdleConnections()
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: status %d", tt.name, resp.StatusCode)
		}
		if diff := cmp.Diff([]int{tt.code}, a.Codes); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}
