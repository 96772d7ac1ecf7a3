package emulator_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"azwi/emulator"
	"azwi/emulator/emulatortest"
)

func graphFIC(name, subject string) string {
	return fmt.Sprintf(`{"name":%q,"issuer":"https://issuer.example","subject":%q,"audiences":["api://AzureADTokenExchange"]}`, name, subject)
}

func TestApplications(t *testing.T) {
	t.Parallel()
	cloud := emulatortest.Start(t, emulator.Config{Seed: []byte(managed + atOnce)})
	s := operator(t, cloud, graphResource)
	small := login(t, cloud, readerID, readerSecret, graphResource)

	small.want(t, 403, "Authorization_RequestDenied", "POST", "/v1.0/applications", `{"displayName":"x"}`)
	small.want(t, 403, "Authorization_RequestDenied", "GET", "/v1.0/applications", "")
	s.want(t, 400, "Request_BadRequest", "POST", "/v1.0/applications", `{}`)
	app := s.want(t, 201, "", "POST", "/v1.0/applications", `{"displayName":"web","identifierUris":["api://web-app"]}`)
	id, appID := text(t, app, "id"), text(t, app, "appId")
	s.want(t, 400, "Request_MultipleObjectsWithSameKeyValue", "POST", "/v1.0/applications", `{"displayName":"b","identifierUris":["api://web-app"]}`)
	byAppID := "/v1.0/applications(appId='" + appID + "')"
	s.want(t, 200, "", "GET", byAppID, "")
	s.want(t, 404, "Request_ResourceNotFound", "GET", "/v1.0/applications/"+appID, "") // not the object ID
	s.want(t, 204, "", "PATCH", "/v1.0/applications/"+id, `{"displayName":"web2"}`)
	for filter, want := range map[string]int{
		"appId eq '" + appID + "'":                          1,
		"startswith(displayName,'WEB') and appId eq 'none'": 0,
		"startswith(displayName,'web')":                     1,
		"identifierUris/any(x:x eq 'api://web-app')":        1,
	} {
		got := s.want(t, 200, "", "GET", "/v1.0/applications?$filter="+url.QueryEscape(filter), "")
		if value, _ := got["value"].([]any); len(value) != want {
			t.Errorf("%s: %d found, want %d", filter, len(value), want)
		}
	}
	s.want(t, 400, "Request_UnsupportedQuery", "GET", "/v1.0/applications?$filter="+url.QueryEscape("color eq 'red'"), "")
	s.want(t, 400, "BadRequest", "GET", "/v1.0/applications?$filter="+url.QueryEscape("appId ne 'x'"), "")

	principal := s.want(t, 201, "", "POST", "/v1.0/servicePrincipals", fmt.Sprintf(`{"appId":%q}`, appID))
	s.want(t, 409, "Request_MultipleObjectsWithSameKeyValue", "POST", "/v1.0/servicePrincipals", fmt.Sprintf(`{"appId":%q}`, appID))
	s.want(t, 200, "", "GET", "/v1.0/servicePrincipals/"+text(t, principal, "id"), "")
	password := s.want(t, 200, "", "POST", "/v1.0/applications/"+id+"/addPassword", `{"passwordCredential":{"displayName":"ci"}}`)
	login(t, cloud, appID, text(t, password, "secretText"), graphResource)
	s.want(t, 204, "", "DELETE", "/v1.0/applications/"+id, "")
	s.want(t, 404, "Request_ResourceNotFound", "GET", "/v1.0/servicePrincipals/"+text(t, principal, "id"), "")
}

func TestApplicationCredentials(t *testing.T) {
	t.Parallel()
	cloud := emulatortest.Start(t, emulator.Config{Seed: []byte(managed + atOnce)})
	s := operator(t, cloud, graphResource)
	app := s.want(t, 201, "", "POST", "/v1.0/applications", `{"displayName":"web"}`)
	fics := "/v1.0/applications/" + text(t, app, "id") + "/federatedIdentityCredentials"

	first := s.want(t, 201, "", "POST", fics, graphFIC("padded==", "a"))
	s.want(t, 409, "Request_MultipleObjectsWithSameKeyValue", "POST", fics, graphFIC("padded==", "b"))
	s.want(t, 400, "InvalidFederatedIdentityCredentialValue", "POST", fics, graphFIC("other", "a"))
	s.want(t, 400, "InvalidFederatedIdentityCredentialValue", "POST", fics, graphFIC("x", "b"))
	s.want(t, 400, "InvalidFederatedIdentityCredentialValue", "POST", fics, `{"name":"none","issuer":"https://i.example","subject":"s","audiences":[]}`)
	s.want(t, 200, "", "GET", fics+"/padded==", "")
	s.want(t, 200, "", "GET", fics+"/"+text(t, first, "id"), "")
	s.want(t, 204, "", "PATCH", fics+"/padded==", `{"description":"changed"}`)
	s.want(t, 400, "Request_BadRequest", "PATCH", fics+"/padded==", `{"name":"renamed"}`)
	if got := s.want(t, 200, "", "GET", fics+"/padded==", ""); got["description"] != "changed" || got["subject"] != "a" {
		t.Errorf("after PATCH: %v", got)
	}
	s.want(t, 404, "Request_ResourceNotFound", "PATCH", fics+"(name='upsert')", `{}`)
	upsert := func(want int, description string) {
		t.Helper()
		body := strings.Replace(graphFIC("upsert", "u"), "{", `{"description":"`+description+`",`, 1)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, cloud.AuthorityURL+strings.TrimPrefix(fics, "/")+"(name='upsert')", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+s.token)
		req.Header.Set("Prefer", "create-if-missing")
		client := cloud.Client()
		defer client.CloseIdleConnections()
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("upsert: %d, want %d", resp.StatusCode, want)
		}
	}
	upsert(201, "created")
	upsert(204, "updated")
	if got := s.want(t, 200, "", "GET", fics+"/upsert", ""); got["description"] != "updated" {
		t.Errorf("after the upserts: %v", got)
	}
	s.want(t, 204, "", "DELETE", fics+"/upsert", "")
	// A flexible credential is for the beta only.
	flexible := `{"name":"flexible","issuer":"https://app.terraform.io","subject":null,"audiences":["api://AzureADTokenExchange"],"claimsMatchingExpression":{"value":"claims['sub'] matches 'a*'","languageVersion":1}}`
	s.want(t, 400, "Request_BadRequest", "POST", fics, flexible)
	beta := strings.Replace(fics, "/v1.0/", "/beta/", 1)
	s.want(t, 201, "", "POST", beta, flexible)
	for _, mistake := range [][2]string{
		{"matches", "like"}, {"app.terraform.io", "kubernetes.default.svc.cluster.local"}, {"['sub']", "['aud']"},
		{`"languageVersion":1`, `"languageVersion":2`}, {`null`, `"a"`}, {"claims['sub'] matches 'a*'", ""},
	} {
		s.want(t, 400, "InvalidFederatedIdentityCredentialValue", "POST", beta, strings.NewReplacer("flexible", "broken", mistake[0], mistake[1]).Replace(flexible))
	}
	s.want(t, 400, "InvalidFederatedIdentityCredentialValue", "PATCH", beta+"/flexible", `{"issuer":"https://kubernetes.default.svc.cluster.local"}`)
	for n := 3; n <= 20; n++ {
		s.want(t, 201, "", "POST", fics, graphFIC(fmt.Sprintf("fic-%d", n), fmt.Sprint(n)))
	}
	s.want(t, 400, "Directory_QuotaExceeded", "POST", fics, graphFIC("fic-21", "21"))
	s.want(t, 204, "", "DELETE", fics+"/padded==", "")
	s.want(t, 404, "Request_ResourceNotFound", "DELETE", fics+"/padded==", "")

	count, next := 0, cloud.AuthorityURL+strings.TrimPrefix(fics, "/")
	for next != "" {
		status, answer := call(t, cloud, "GET", next, s.token, "")
		value, _ := answer["value"].([]any)
		if status != 200 || len(value) == 0 {
			t.Fatalf("page: %d %v", status, answer)
		}
		count += len(value)
		next, _ = answer["@odata.nextLink"].(string)
	}
	if count != 19 {
		t.Errorf("%d credentials on all pages, want 19", count)
	}
}

// The owner of an application may federate it without any role.
func TestOwnerMayFederate(t *testing.T) {
	t.Parallel()
	seed := managed + atOnce + "applications: [{name: owned, appId: " + webAppID + ", owners: [reader]}, {name: foreign, appId: " + bareAppID + "}]\n"
	cloud := emulatortest.Start(t, emulator.Config{Seed: []byte(seed)})
	owner := login(t, cloud, readerID, readerSecret, graphResource)
	owner.want(t, 201, "", "POST", "/v1.0/applications(appId='"+webAppID+"')/federatedIdentityCredentials", graphFIC("abc", "s"))
	owner.want(t, 403, "Authorization_RequestDenied", "POST", "/v1.0/applications(appId='"+bareAppID+"')/federatedIdentityCredentials", graphFIC("abc", "s"))
}

func TestGraphAuthentication(t *testing.T) {
	t.Parallel()
	cloud := emulatortest.Start(t, emulator.Config{})
	session{cloud, ""}.want(t, 401, "InvalidAuthenticationToken", "GET", "/v1.0/applications", "")
	operator(t, cloud, armResource).want(t, 401, "InvalidAuthenticationToken", "GET", "/v1.0/applications", "")
	operator(t, cloud, graphResource).want(t, 400, "BadRequest", "GET", "/v1.0/me", "")
}
