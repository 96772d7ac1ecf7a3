package imds_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"azwi/internal/token/imds"
)

const secret = "0f3c2a7e-1111-4222-8333-444455556666"

func TestLocate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		raw   string
		want  imds.Place
		clean string
	}{
		{"/metadata/identity/oauth2/token", imds.IMDSToken, "/metadata/identity/oauth2/token"},
		{"/metadata/identity/oauth2/token/", imds.IMDSToken, "/metadata/identity/oauth2/token/"},
		{"//metadata//identity/oauth2/token", imds.IMDSToken, "/metadata/identity/oauth2/token"},
		{"/Metadata/IDENTITY/OAuth2/Token", imds.IMDSToken, "/Metadata/IDENTITY/OAuth2/Token"},
		{"/metadata/x/../identity/./oauth2/token", imds.IMDSToken, "/metadata/identity/oauth2/token"},
		{"/metadata/%69dentity/oauth2/token", imds.IMDSToken, "/metadata/identity/oauth2/token"},
		{"/metadata%2Fidentity%2foauth2/token", imds.IMDSToken, "/metadata/identity/oauth2/token"},
		{"/metadata/identity", imds.Identity, "/metadata/identity"},
		{"/metadata/identity/info", imds.Identity, "/metadata/identity/info"},
		{"/metadata/identity/getplatformmetadata", imds.Identity, "/metadata/identity/getplatformmetadata"},
		{"/metadata/identity/oauth2/token/more", imds.Identity, "/metadata/identity/oauth2/token/more"},
		{"/metadata/instance/../identity/info", imds.Identity, "/metadata/identity/info"},
		{"/metadata/identity./oauth2/token", imds.Identity, "/metadata/identity./oauth2/token"},
		{"/metadata./identity/oauth2/token", imds.Identity, "/metadata./identity/oauth2/token"},
		{"/metadata/%2569dentity/oauth2/token", imds.Malformed, ""},
		{"/metadata%255cidentity", imds.Malformed, ""},
		{`/metadata%5cidentity/oauth2/token`, imds.Malformed, ""},
		{"/metadata;a/identity/oauth2/token", imds.Malformed, ""},
		{"/metadata/%C4%B1dentity/oauth2/token", imds.Malformed, ""},
		{"/metadata/identity%00/oauth2/token", imds.Malformed, ""},
		{"/metadata/%20identity", imds.Malformed, ""},
		{"/metadata/instance", imds.Elsewhere, "/metadata/instance"},
		{"/metadata/instance/compute/../network/", imds.Elsewhere, "/metadata/instance/network/"},
		{"/metadata/attested/document", imds.Elsewhere, "/metadata/attested/document"},
		{"/latest/meta-data/network/interfaces/macs/02:29:96:8f:6a:2d/", imds.Elsewhere, "/latest/meta-data/network/interfaces/macs/02:29:96:8f:6a:2d/"},
		{"/latest/dynamic/instance-identity/document", imds.Elsewhere, "/latest/dynamic/instance-identity/document"},
		{"/", imds.Elsewhere, "/"},
		{"", imds.Elsewhere, "/"},
		{"/" + secret + "/msi/token", imds.MSIToken, "/" + secret + "/msi/token"},
		{"/" + strings.ToUpper(secret) + "/MSI/token/", imds.MSIToken, "/" + strings.ToUpper(secret) + "/MSI/token/"},
		{"/another/msi/token", imds.Identity, "/another/msi/token"},
		{"/msi/token", imds.Elsewhere, "/msi/token"},
	} {
		u, err := url.ParseRequestURI(tt.raw)
		if tt.raw == "" {
			u, err = &url.URL{}, nil
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, clean := imds.Locate(u, secret); got != tt.want || clean != tt.clean {
			t.Errorf("%s: %d %q, want %d %q", tt.raw, got, clean, tt.want, tt.clean)
		}
	}
	if got, _ := imds.Locate(&url.URL{Path: "/" + secret + "/msi/token"}, ""); got != imds.Identity {
		t.Errorf("without a secret there is an MSI endpoint: %d", got)
	}
}

// A path that may be forwarded means the same however often it is decoded and
// cleaned, and never the identity endpoint. The reading here is another one than
// Locate's, on purpose.
func FuzzLocate(f *testing.F) {
	for _, s := range []string{
		"/metadata/identity/oauth2/token", "/metadata/instance", "/metadata/%2569dentity", "/a/../metadata/identity", "//metadata/./identity",
		`/metadata\identity`, "/metadata/identity;x", "/METADATA/ıdentity", "/metadata/\u212aidentity", "/metadata/%e2%80%8bidentity", "/a/msi/token",
		"/?Cmeta/../metadata/identity",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := url.ParseRequestURI(raw)
		if err != nil {
			return
		}
		place, clean := imds.Locate(u, secret)
		if place != imds.Elsewhere {
			return
		}
		written, _, _ := strings.Cut(raw, "?") // what follows is the query, whatever is in it (RFC 9112 section 3.2.1)
		for _, s := range []string{written, u.Path, u.EscapedPath(), clean} {
			for range 5 {
				s = strings.ReplaceAll(s, `\`, "/")
				folded := strings.ToLower(path.Clean("/" + s))
				if strings.HasPrefix(folded, "/metadata/identity") {
					t.Fatalf("%q is forwarded, and reads as %q", raw, folded)
				}
				decoded, err := url.PathUnescape(s)
				if err != nil {
					break
				}
				s = decoded
			}
		}
		again, cleanAgain := imds.Locate(&url.URL{Path: clean}, secret)
		if again != imds.Elsewhere || cleanAgain != clean || !strings.HasPrefix(clean, "/") {
			t.Fatalf("%q becomes %q, which is read as %d %q", raw, clean, again, cleanAgain)
		}
	})
}

// a request, without what its form needs.
type call struct {
	method, target, body string
	header               map[string]string
}

func (c call) request() *http.Request {
	r := httptest.NewRequest(c.method, "http://169.254.169.254"+c.target, strings.NewReader(c.body))
	for name, value := range c.header {
		r.Header.Set(name, value)
	}
	if c.body != "" && r.Header.Get("Content-Type") == "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

const (
	imdsPath = "/metadata/identity/oauth2/token?"
	msiPath  = "/" + secret + "/msi/token?"
	version  = "api-version=2018-02-01&"
)

func parse(p imds.Parser, c call) (imds.Request, *imds.Error) {
	return p.Parse(httptest.NewRecorder(), c.request())
}

func TestParse(t *testing.T) {
	t.Parallel()
	metadata := map[string]string{"Metadata": "true"}
	modern := map[string]string{"X-IDENTITY-HEADER": secret}
	old := map[string]string{"secret": secret}
	for _, tt := range []struct {
		name string
		call call
		want imds.Request
	}{
		{"IMDS", call{"GET", imdsPath + version + "resource=https%3A%2F%2Fvault.azure.net", "", metadata}, imds.Request{Resource: "https://vault.azure.net"}},
		{"header in capitals", call{"GET", imdsPath + version + "resource=r", "", map[string]string{"metadata": "True"}}, imds.Request{Resource: "r"}},
		{"newer version", call{"GET", imdsPath + "api-version=2025-04-07&resource=r", "", metadata}, imds.Request{Resource: "r"}},
		{"slash at the end of the resource", call{"GET", imdsPath + version + "resource=https://a/", "", metadata}, imds.Request{Resource: "https://a/"}},
		{"client_id", call{"GET", imdsPath + version + "resource=r&client_id=c", "", metadata}, imds.Request{Resource: "r", Kind: imds.ClientID, ID: "c"}},
		{"clientid", call{"GET", imdsPath + version + "resource=r&clientid=c", "", metadata}, imds.Request{Resource: "r", Kind: imds.ClientID, ID: "c"}},
		{"clientId", call{"GET", imdsPath + version + "resource=r&clientId=c", "", metadata}, imds.Request{Resource: "r", Kind: imds.ClientID, ID: "c"}},
		{"both spellings", call{"GET", imdsPath + version + "resource=r&clientId=c&client_id=c", "", metadata}, imds.Request{Resource: "r", Kind: imds.ClientID, ID: "c"}},
		{"empty client_id", call{"GET", imdsPath + version + "resource=r&client_id=", "", metadata}, imds.Request{Resource: "r"}},
		{"object_id", call{"GET", imdsPath + version + "resource=r&object_id=o", "", metadata}, imds.Request{Resource: "r", Kind: imds.ObjectID, ID: "o"}},
		{"principal_id", call{"GET", imdsPath + version + "resource=r&principal_id=o", "", metadata}, imds.Request{Resource: "r", Kind: imds.ObjectID, ID: "o"}},
		{"mi_res_id", call{"GET", imdsPath + version + "resource=r&mi_res_id=/s", "", metadata}, imds.Request{Resource: "r", Kind: imds.ResourceID, ID: "/s"}},
		{"msi_res_id", call{"GET", imdsPath + version + "resource=r&msi_res_id=/s", "", metadata}, imds.Request{Resource: "r", Kind: imds.ResourceID, ID: "/s"}},
		{"msi-res-id", call{"GET", imdsPath + version + "resource=r&msi-res-id=/s", "", metadata}, imds.Request{Resource: "r", Kind: imds.ResourceID, ID: "/s"}},
		{"claims", call{"GET", imdsPath + version + "resource=r&claims=%7B%7D", "", metadata}, imds.Request{Resource: "r", Claims: "{}"}},
		{"App Service SDK sent to IMDS", call{"GET", imdsPath + "api-version=2019-08-01&resource=r&client_id=c", "", map[string]string{"X-IDENTITY-HEADER": "any"}}, imds.Request{Resource: "r", Kind: imds.ClientID, ID: "c"}},
		{"and its resource ID", call{"GET", imdsPath + "api-version=2019-08-01&resource=r&mi_res_id=/s", "", map[string]string{"X-IDENTITY-HEADER": "any"}}, imds.Request{Resource: "r", Kind: imds.ResourceID, ID: "/s"}},
		{"unknown parameters", call{"GET", imdsPath + version + "resource=r&bypass_cache=true", "", metadata}, imds.Request{Resource: "r"}},
		{"App Service 2019", call{"GET", msiPath + "api-version=2019-08-01&resource=r&mi_res_id=/s", "", modern}, imds.Request{Form: imds.AppService2019, Resource: "r", Kind: imds.ResourceID, ID: "/s"}},
		{"App Service 2017", call{"GET", msiPath + "api-version=2017-09-01&resource=r&clientid=c", "", old}, imds.Request{Form: imds.AppService2017, Resource: "r", Kind: imds.ClientID, ID: "c"}},
		{"Cloud Shell", call{"POST", msiPath, "resource=r&client_id=c", metadata}, imds.Request{Form: imds.CloudShell, Resource: "r", Kind: imds.ClientID, ID: "c"}},
		{"Cloud Shell with secret", call{"POST", msiPath, "resource=r", old}, imds.Request{Form: imds.CloudShell, Resource: "r"}},
	} {
		got, e := parse(imds.Parser{Secret: secret}, tt.call)
		if e != nil {
			t.Errorf("%s: %v", tt.name, e)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	metadata := map[string]string{"Metadata": "true"}
	long := strings.Repeat("x", 40<<10)
	for _, tt := range []struct {
		name   string
		call   call
		status int
		text   string
	}{
		{"probe of the Go SDK", call{"GET", imdsPath, "", nil}, 400, "Required metadata header not specified"},
		{"probe of .NET", call{"GET", imdsPath + version + "resource=r", "", nil}, 400, "Required metadata header not specified"},
		{"Metadata: false", call{"GET", imdsPath + version + "resource=r", "", map[string]string{"Metadata": "false"}}, 400, "Required metadata header"},
		{"empty X-IDENTITY-HEADER", call{"GET", imdsPath + version + "resource=r", "", map[string]string{"X-IDENTITY-HEADER": ""}}, 400, "Required metadata header"},
		{"secret on IMDS", call{"GET", imdsPath + version + "resource=r", "", map[string]string{"secret": "any"}}, 400, "Required metadata header"},
		{"POST to IMDS", call{"POST", imdsPath + version, "resource=r", metadata}, 405, "method"},
		{"HEAD to IMDS", call{"HEAD", imdsPath + version + "resource=r", "", metadata}, 405, "method"},
		{"no version", call{"GET", imdsPath + "resource=r", "", metadata}, 400, "api-version was not specified"},
		{"old version", call{"GET", imdsPath + "api-version=2017-12-01&resource=r", "", metadata}, 400, "api-version is invalid"},
		{"no date", call{"GET", imdsPath + "api-version=latest&resource=r", "", metadata}, 400, "api-version is invalid"},
		{"no resource", call{"GET", imdsPath + version, "", metadata}, 400, "'resource' is missing"},
		{"two scopes", call{"GET", imdsPath + version + "resource=a+openid", "", metadata}, 400, "one URI"},
		{"line break", call{"GET", imdsPath + version + "resource=a%0a", "", metadata}, 400, "one URI"},
		{"long resource", call{"GET", imdsPath + version + "resource=" + long[:3000], "", metadata}, 400, "one URI"},
		{"two resources", call{"GET", imdsPath + version + "resource=a&resource=b", "", metadata}, 400, "two values"},
		{"two clients", call{"GET", imdsPath + version + "resource=a&client_id=b&clientid=c", "", metadata}, 400, "two values"},
		{"two kinds", call{"GET", imdsPath + version + "resource=a&client_id=b&object_id=b", "", metadata}, 400, "one of"},
		{"bad query", call{"GET", imdsPath + version + "resource=%zz", "", metadata}, 400, "malformed"},
		{"semicolon", call{"GET", imdsPath + version + "resource=a;client_id=b", "", metadata}, 400, "malformed"},
		{"claims", call{"GET", imdsPath + version + "resource=a&claims=x", "", metadata}, 400, "claims"},
		{"no header", call{"GET", msiPath + "api-version=2019-08-01&resource=r", "", nil}, 400, "header"},
		{"Metadata alone with GET", call{"GET", msiPath + "api-version=2019-08-01&resource=r", "", metadata}, 400, "header"},
		{"wrong secret", call{"GET", msiPath + "api-version=2019-08-01&resource=r", "", map[string]string{"X-IDENTITY-HEADER": "x"}}, 400, "X-Identity-Header"},
		{"empty secret", call{"GET", msiPath + "api-version=2017-09-01&resource=r", "", map[string]string{"secret": ""}}, 400, "Secret"},
		{"one of two is wrong", call{"POST", msiPath, "resource=r", map[string]string{"secret": "x", "Metadata": "true"}}, 400, "Secret"},
		{"PUT", call{"PUT", msiPath, "resource=r", metadata}, 405, "method"},
		{"POST without header", call{"POST", msiPath, "resource=r", nil}, 400, "header"},
		{"JSON", call{"POST", msiPath, "{}", map[string]string{"Metadata": "true", "Content-Type": "application/json"}}, 400, "Content-Type"},
		{"large form", call{"POST", msiPath, "resource=" + long, metadata}, 413, "too large"},
		{"bad form", call{"POST", msiPath, "resource=%zz", metadata}, 400, "malformed"},
		{"form and query differ", call{"POST", msiPath + "client_id=a", "resource=r&client_id=b", metadata}, 400, "two values"},
	} {
		_, e := parse(imds.Parser{Secret: secret}, tt.call)
		if e == nil {
			t.Errorf("%s: no error", tt.name)
			continue
		}
		if e.Status != tt.status || !strings.Contains(e.Description, tt.text) {
			t.Errorf("%s: %d %q, want %d %q", tt.name, e.Status, e.Description, tt.status, tt.text)
		}
		if strings.Contains(e.Description, secret) {
			t.Errorf("%s tells the secret", tt.name)
		}
	}
}

// What is no request for a token is to be forwarded, by a clean path, or nothing here.
func TestParsePaths(t *testing.T) {
	t.Parallel()
	type result struct {
		Path   string
		Status int
		Name   string
	}
	for _, tt := range []struct {
		name   string
		parser imds.Parser
		target string
		want   result
	}{
		{"elsewhere", imds.Parser{}, "//metadata/./instance?x=1", result{Path: "/metadata/instance"}},
		{"root", imds.Parser{}, "/", result{Path: "/"}},
		{"malformed", imds.Parser{}, "/metadata/%2569dentity", result{Status: 400, Name: "invalid_request"}},
		{"identity", imds.Parser{}, "/metadata/identity/info", result{Status: 404, Name: "not_found"}},
		{"no MSI endpoint", imds.Parser{}, msiPath, result{Status: 404, Name: "not_found"}},
		{"IMDS for those who know no secret", imds.Parser{Secret: secret, SecretOnly: true}, imdsPath, result{Status: 404, Name: "not_found"}},
		{"MSI for those who know the secret", imds.Parser{Secret: secret, SecretOnly: true}, msiPath, result{Status: 400, Name: "invalid_request"}},
	} {
		request, e := parse(tt.parser, call{method: http.MethodGet, target: tt.target})
		got := result{Path: request.Path}
		if e != nil {
			got.Status, got.Name = e.Status, e.Name
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestParseLax(t *testing.T) {
	t.Parallel()
	got, e := parse(imds.Parser{Lax: true}, call{"GET", imdsPath + "resource=r", "", nil})
	if e != nil || got.Resource != "r" {
		t.Errorf("%v, %v", got, e)
	}
}

func TestCheckCaller(t *testing.T) {
	t.Parallel()
	for host, ok := range map[string]bool{
		"169.254.169.254": true, "169.254.169.254:80": true, "127.0.0.1": true, "127.0.0.1:8000": true, "[::1]": true, "[::1]:8000": true,
		"localhost": true, "LOCALHOST:1": true,
		"": false, "evil.example": false, "169.254.169.254.nip.io": false, "127.0.0.1.evil.example:80": false, "::1": false, "localhost:": false,
		"localhost:80x": false, "localhost.": false, "127.0.0.2": false, "[::2]": false, "user@localhost": false, "metadata.google.internal": false,
	} {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		r.Host = host
		if e := imds.CheckCaller(r); (e == nil) != ok {
			t.Errorf("host %q: %v", host, e)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "http://169.254.169.254/", http.NoBody)
	r.Header["X-Forwarded-For"] = nil
	if imds.CheckCaller(r) == nil {
		t.Error("X-Forwarded-For passes")
	}
	for method, want := range map[string]string{"GET": "", "HEAD": "", "POST": "", "PUT": "GET, HEAD, POST", "get": "GET, HEAD, POST", "": "GET, HEAD, POST"} {
		r := httptest.NewRequest(http.MethodGet, "http://169.254.169.254/", http.NoBody)
		r.Method = method
		allow := ""
		if e := imds.CheckCaller(r); e != nil {
			allow = e.Allow
		}
		if allow != want {
			t.Errorf("method %q: Allow %q, want %q", method, allow, want)
		}
	}
}

// What a request may turn into is bounded, printable and of one reading.
func FuzzParse(f *testing.F) {
	f.Add("GET", "api-version=2018-02-01&resource=r&client_id=c", "", "true", "")
	f.Add("POST", "", "resource=r&msi_res_id=/s", "true", secret)
	f.Add("GET", "api-version=2019-08-01&resource=r", "", "", secret)
	f.Add("GET", "api-version=2019-08-01&resource=r", "", "", "any")
	f.Add("GET", "api-version=2018-02-01&resource=r&client_id=c", "", "terue", "\f ")
	f.Fuzz(func(t *testing.T, method, query, body, metadata, header string) {
		for _, target := range []string{imdsPath, msiPath} {
			r := httptest.NewRequest(http.MethodGet, "http://169.254.169.254"+target, strings.NewReader(body))
			r.Method, r.URL.RawQuery = method, query
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if metadata != "" {
				r.Header["Metadata"] = []string{metadata}
			}
			if header != "" {
				r.Header["X-Identity-Header"] = []string{header}
			}
			got, e := imds.Parser{Secret: secret}.Parse(httptest.NewRecorder(), r)
			if e != nil {
				if e.Status < 400 || e.Status > 499 || e.Name == "" || e.Description == "" {
					t.Fatalf("error %+v", e)
				}
				continue
			}
			if !strings.EqualFold(metadata, "true") && header != secret && (target == msiPath || strings.TrimSpace(header) == "") {
				t.Fatalf("served without its guard: %+v", got)
			}
			if got.Resource == "" || len(got.Resource) > 2048 || strings.ContainsAny(got.Resource, " \r\n\x00") {
				t.Fatalf("resource %q", got.Resource)
			}
			if (got.ID == "") != (got.Kind == imds.DefaultIdentity) || strings.ContainsAny(got.ID, " \r\n\x00") {
				t.Fatalf("identity %d %q", got.Kind, got.ID)
			}
			if target == imdsPath && (got.Form != imds.IMDS || method != http.MethodGet) {
				t.Fatalf("form %s by %s", got.Form, method)
			}
		}
	})
}

func TestAnswer(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	imds.Answer{
		AccessToken: `a"\<b`, TokenType: "Bearer", ClientID: "c", Resource: "https://r/é", Issued: time.Unix(1000, 0), Expires: time.Unix(2000, 5),
		Remaining: 900*time.Second + 999*time.Millisecond,
	}.Write(w)
	// Every value is a string, and expires_in comes first of the two.
	const want = `{"access_token":"a\"\\\u003cb","client_id":"c","expires_in":"900","expires_on":"2000","ext_expires_in":"900","not_before":"1000","resource":"https://r/é","token_type":"Bearer"}`
	if diff := cmp.Diff(want, w.Body.String()); diff != "" {
		t.Error(diff)
	}
	var decoded map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &decoded); err != nil || decoded["access_token"] != `a"\<b` {
		t.Errorf("%v, %v", decoded, err)
	}
	header := http.Header{
		"Content-Type": {"application/json; charset=utf-8"}, "Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"},
		"Content-Length": {strconv.Itoa(len(want))},
	}
	if diff := cmp.Diff(header, w.Header()); diff != "" {
		t.Error(diff)
	}
}

// However long a value is and wherever in it a character stands, it is written as
// encoding/json writes it.
func TestAnswerEscapes(t *testing.T) {
	t.Parallel()
	for c := range rune(0x100) {
		for _, before := range []int{0, 1, 7, 8, 12} {
			for _, after := range []int{0, 8} {
				value := strings.Repeat("a", before) + string(c) + strings.Repeat("z", after)
				w := httptest.NewRecorder()
				imds.Answer{AccessToken: value}.Write(w)
				quoted, err := json.Marshal(value)
				if err != nil {
					t.Fatal(err)
				}
				if want := `{"access_token":` + string(quoted) + `,"client_id"`; !strings.HasPrefix(w.Body.String(), want) {
					t.Fatalf("%q: %s", value, w.Body)
				}
			}
		}
	}
}

func TestErrorAnswer(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	(&imds.Error{Status: 503, Name: "n", Description: "d", Code: 7, RetryAfter: 1500 * time.Millisecond, CorrelationID: "c"}).Write(w)
	if w.Code != 503 {
		t.Errorf("status %d", w.Code)
	}
	if wait := w.Header().Get("Retry-After"); wait != "2" {
		t.Errorf("Retry-After %q, want 2", wait)
	}
	if diff := cmp.Diff(`{"error":"n","error_description":"d","error_codes":[7],"correlation_id":"c"}`, w.Body.String()); diff != "" {
		t.Error(diff)
	}
}
